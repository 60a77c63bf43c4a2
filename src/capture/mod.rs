//! Owns where events come from: Python stacks, foreign functions, native callers, locations given
//! by C callers, and the tables that keep each of them once.
//!
//! Promises: an event whose stack was seen before is named without allocation, lock, system call
//! or interpreter lock; a [`StackId`] means the same until exit and is read without touching the
//! program's memory; equal stacks have equal numbers, also when code objects are made anew.
//!
//! Must never: run Python code, symbolise on the allocation path, know what a block is, or judge.
//! What does not fit its limits is left out and counted ([`CaptureCounters`]).

mod counters;
mod describe;
mod event;
pub mod foreign;
mod frame;
mod hash;
mod intern_table;
mod location;
mod native;
mod native_stack;
mod on_behalf;
mod python;
mod seen_cache;
mod site_table;
mod stack_table;
mod text_table;
mod top_frame;

pub use self::counters::CaptureCounters;
pub use self::describe::Maker;
pub use self::event::EventPlace;
pub use self::foreign::ForeignFunctionId;
pub use self::frame::{ForeignFunction, Frame, SuppliedFrame};
pub use self::location::LocationId;
pub use self::native::load_generation::begin_new as forget_native_places;
pub use self::native::{
    FileSymbols, NATIVE_FRAME_COUNT_MAX, NativeDepth, Registers, SourcePlace, is_outside_objects,
    library_at,
};
pub use self::on_behalf::CXX_RUNTIME_PREFIXES;
pub use self::python::{PythonStatus, PythonVersion, without_python_frames};
pub use self::stack_table::PYTHON_FRAME_COUNT_MAX;
#[cfg(fuzzing)]
pub use self::{native::unwind_rule, python::line_of};

use self::event::Event;
use self::hash::Hash;
use self::native::{Rest, Symbolizer, Unwinder};
use self::native_stack::Origin;
use self::python::{Place, Python, View, lifetime};
use self::seen_cache::SeenCache;
use self::site_table::{Site, SiteId, SiteTable};
use self::stack_table::{NewStack, StackTable};
use self::text_table::TextId;
use crate::ledger::StackId;
use crate::memory::Address;
use crate::memory::sync::{AtomicU32, Ordering};
use crate::memory::thread_local::{Word, get, set};

/// How many directories of Python code can be hidden.
const HIDDEN_DIRECTORY_COUNT_MAX: usize = 8;
/// In the caches: a place that is left out of stacks.
const HIDDEN_SITE: u32 = u32::MAX;
/// In the caches: a stack for which there was no room.
const DROPPED_STACK: u32 = u32::MAX;

/// 65,536 stacks: four times what the largest test suite tried has at once.
const STACK_CACHE_BITS: u32 = 14;
const SITE_CACHE_BITS: u32 = 14;
const FOREIGN_CACHE_BITS: u32 = 12;

/// The captured origins of a process.
#[derive(Debug)]
pub struct Capture {
    stacks: StackTable,
    sites: SiteTable,
    seen_stacks: SeenCache,
    seen_sites: SeenCache,
    seen_foreign_functions: SeenCache,
    python: Python,
    unwinder: Unwinder,
    symbolizer: Symbolizer,
    hidden_directories: [AtomicU32; HIDDEN_DIRECTORY_COUNT_MAX],
}

impl Capture {
    /// Empty tables; `None` when the kernel refuses pages.
    #[must_use]
    pub fn new() -> Option<Self> {
        native::learn();
        Some(Self {
            stacks: StackTable::new()?,
            sites: SiteTable::new()?,
            seen_stacks: SeenCache::new(STACK_CACHE_BITS)?,
            seen_sites: SeenCache::new(SITE_CACHE_BITS)?,
            seen_foreign_functions: SeenCache::new(FOREIGN_CACHE_BITS)?,
            python: Python::default(),
            unwinder: Unwinder::new()?,
            symbolizer: Symbolizer::default(),
            hidden_directories: Default::default(),
        })
    }

    /// The stack of an event on the calling thread.
    ///
    /// The hot path: call it with the reentry flag up. A stack that was seen before costs no
    /// allocation, no lock and no system call. [`StackId::UNKNOWN`] when nothing is known.
    #[inline]
    #[must_use]
    pub fn here(&self, place: EventPlace) -> StackId {
        self.at(&place)
    }

    /// The same without a copy of the place, which costs more than the rest.
    #[inline(never)]
    #[must_use]
    pub fn at(&self, place: &EventPlace) -> StackId {
        // Before the frames are looked at: a code object that dies after this has no frame here.
        let generation = lifetime::generation();
        let call = foreign::call_in_progress();
        let foreign = call.map_or(ForeignFunctionId::NONE, |call| call.function);
        let remembering = self.python.remembering();
        let python = match remembering {
            Some(stack) => stack.key(generation, call),
            None if self.python.is_fresh() => {
                let event = Event::new(*place, foreign, generation);
                return self.resolve(event, self.python.view());
            }
            None => None,
        };
        let rest = Rest {
            python: python.unwrap_or_else(|| get(Word::SuppliedOrigin) as u64),
            foreign: u64::from(foreign.0.0),
            generation,
        };
        if let Origin::Registers(registers, depth) = self.origin(place)
            && let Some(stack) = self.unwinder.known_stack(registers, depth, &rest)
        {
            return StackId(stack);
        }
        let view = remembering.map_or(View::Off, View::Remembering);
        self.find(Event::new(*place, foreign, generation), view, &rest)
    }

    /// Stores a location that a C caller gave; [`LocationId::NONE`] when it gave nothing.
    #[must_use]
    pub fn intern_location(&self, file: &[u8], line: u32, function: &[u8]) -> LocationId {
        if file.is_empty() && line == 0 && function.is_empty() {
            return LocationId::NONE;
        }
        let key = location::key(file, line, function);
        let find = || location::intern(&self.sites, file, line, function);
        LocationId::at(self.seen_site(key, find))
    }

    /// The stack of an event that is not the one seen last at its place.
    #[inline(never)]
    fn find(&self, event: Event, view: View<'_>, rest: &Rest) -> StackId {
        let origin = self.origin(&event.place);
        let key = event.key(rest.python, self.native_key(&origin));
        let stack = match self.seen_stacks.get(key) {
            Some(DROPPED_STACK) => return StackId::UNKNOWN,
            Some(number) => StackId(number),
            None => self.resolve_and_remember(event, view, key),
        };
        if let Origin::Registers(registers, depth) = origin
            && stack.is_known()
        {
            self.unwinder
                .remember_stack((registers, depth), rest, stack.0);
        }
        stack
    }

    #[cold]
    fn resolve_and_remember(&self, event: Event, view: View<'_>, key: u64) -> StackId {
        let stack = self.resolve(event, view);
        self.seen_stacks.put(
            key,
            if stack.is_known() {
                stack.0
            } else {
                DROPPED_STACK
            },
        );
        stack
    }

    /// Puts the stack together and finds it by content.
    fn resolve(&self, event: Event, view: View<'_>) -> StackId {
        let mut stack = NewStack::new(event.foreign.0);
        let native = self.native_stack(&event.place);
        native.inner().iter().for_each(|&site| stack.push(site));
        let mut has_frames = false;
        let is_cut = match view {
            View::Off => false,
            View::Fresh(python) => python.visit(|place| {
                has_frames = true;
                stack.push(self.decode(place));
            }),
            View::Remembering(python) => python.visit(|place| {
                has_frames = true;
                place.note_sighting(event.generation);
                stack.push(self.seen_site(place.key(), || self.decode(place)));
            }),
        };
        native.outer().iter().for_each(|&site| stack.push(site));
        // Without a reader, or on a thread that runs no Python code but was started by some.
        if !has_frames {
            self.supplied_sites().for_each(|site| stack.push(site));
        }
        if is_cut {
            self.stacks.note_cut();
        }
        self.stacks.intern(&stack)
    }

    /// The site remembered under `key`, or what `find` answers, remembered from now on.
    fn seen_site(&self, key: u64, find: impl FnOnce() -> SiteId) -> SiteId {
        match self.seen_sites.get(key) {
            Some(HIDDEN_SITE) => SiteId::NONE,
            Some(number) => SiteId(number),
            None => {
                let site = find();
                let number = if site.is_known() { site.0 } else { HIDDEN_SITE };
                self.seen_sites.put(key, number);
                site
            }
        }
    }

    /// Reads a place out of its code object. None for one that is hidden or finds no room.
    fn decode(&self, place: Place<'_>) -> SiteId {
        let texts = self.sites.texts();
        let file = place.with_file(|file| {
            if self.is_hidden(file) {
                None
            } else {
                Some(texts.intern(file))
            }
        });
        let Some(file) = file else {
            return SiteId::NONE;
        };
        let function = place.with_function(|function| texts.intern(function));
        self.sites.intern(Site::Python {
            file,
            function,
            line: place.line(),
        })
    }
}

/// Python.
impl Capture {
    /// Finds the interpreter of this process and begins to read its stacks. Cheap to call again.
    ///
    /// Stands in front of the function that releases code objects, so that what is remembered of
    /// one is forgotten when it dies.
    pub fn connect_python(&self) -> PythonStatus {
        if let Some(code) = python::some_code() {
            self.unwinder.set_interpreter(code);
        }
        self.python.connect()
    }

    /// Takes our function away from the interpreter. Stacks are read as before, slower.
    pub fn disconnect_python(&self) {
        self.python.disconnect();
    }

    /// Whether Python stacks are read.
    #[must_use]
    pub fn python_status(&self) -> PythonStatus {
        self.python.status()
    }

    /// Stops reading Python stacks for good: the check at start-up found a mismatch.
    pub fn turn_off_python_reader(&self) {
        self.python.turn_off();
    }

    /// Leaves out frames whose file begins with `prefix`, from now on. Beyond a few prefixes, or
    /// with an empty one, nothing happens.
    pub fn hide_python_directory(&self, prefix: &[u8]) {
        let prefix = self.sites.texts().intern(prefix);
        for place in &self.hidden_directories {
            let found = place.compare_exchange(0, prefix.0, Ordering::AcqRel, Ordering::Acquire);
            if found.is_ok() || found == Err(prefix.0) {
                break;
            }
        }
        lifetime::forget_everything();
    }

    /// Stores a stack that Python code describes itself, innermost frame first.
    #[must_use]
    pub fn supply_stack(&self, frames: &[SuppliedFrame<'_>]) -> StackId {
        let texts = self.sites.texts();
        let mut stack = NewStack::new(SiteId::NONE);
        for frame in frames.iter().take(PYTHON_FRAME_COUNT_MAX) {
            if !self.is_hidden(frame.file) {
                let (file, function) = (texts.intern(frame.file), texts.intern(frame.function));
                stack.push(self.sites.intern(Site::Python {
                    file,
                    function,
                    line: frame.line,
                }));
            }
        }
        if frames.len() > PYTHON_FRAME_COUNT_MAX {
            self.stacks.note_cut();
        }
        self.stacks.intern(&stack)
    }

    /// Makes the Python part of a stack that of the next events on this thread, as long as the
    /// native reader is off or the thread runs no Python code. [`StackId::UNKNOWN`] ends it.
    pub fn set_supplied(&self, stack: StackId) {
        set(Word::SuppliedOrigin, stack.0 as usize);
    }

    /// Whether the Python code that made the call under way throws the call's result away; `false`
    /// when that is not known.
    #[must_use]
    pub fn is_result_dropped(&self) -> bool {
        match self.python.view() {
            View::Off => false,
            View::Fresh(stack) | View::Remembering(stack) => stack.drops_result(),
        }
    }

    /// The Python frames of the calling thread as the native reader sees them: none while it is
    /// off. Goes the way every event goes.
    #[must_use]
    pub fn read_python_frames(&self) -> Vec<Frame> {
        if let View::Off = self.python.view() {
            return Vec::new();
        }
        self.frames(self.here(EventPlace::UNKNOWN))
    }

    fn is_hidden(&self, file: &[u8]) -> bool {
        self.hidden_directories
            .iter()
            .map(|prefix| TextId(prefix.load(Ordering::Acquire)))
            .take_while(|&prefix| prefix != TextId::NONE)
            .any(|prefix| self.sites.texts().is_prefix(prefix, file))
    }

    fn supplied_sites(&self) -> impl Iterator<Item = SiteId> + '_ {
        let supplied = u32::try_from(get(Word::SuppliedOrigin)).unwrap_or(0);
        let sites = self.stacks.sites(StackId(supplied));
        sites.filter(|&site| matches!(self.sites.site(site), Some(Site::Python { .. })))
    }
}

/// Native code.
impl Capture {
    /// Changes how much of the native stack is kept, from now on.
    pub fn set_native_depth(&self, depth: NativeDepth) {
        self.unwinder.set_depth(depth);
    }
}

/// Foreign functions.
impl Capture {
    /// The foreign function that begins at `function`, named by the loader's tables unless
    /// [`Self::learn_foreign_function`] named it. No lookup once it has been seen.
    #[must_use]
    pub fn foreign_function_at(&self, function: Address) -> ForeignFunctionId {
        match self.known_foreign_function(function) {
            Some(known) => known,
            None => self.remember_foreign(function, native::intern_foreign(&self.sites, function)),
        }
    }

    /// The same function, if it has been seen.
    #[inline]
    #[must_use]
    pub fn known_foreign_function(&self, function: Address) -> Option<ForeignFunctionId> {
        let number = self.seen_foreign_functions.get(foreign_key(function))?;
        Some(ForeignFunctionId(SiteId(number)))
    }

    /// Names the foreign function that begins at `function`, as whoever looked it up called it.
    pub fn learn_foreign_function(
        &self,
        function: Address,
        library: &[u8],
        name: &[u8],
    ) -> ForeignFunctionId {
        let texts = self.sites.texts();
        let (library, name) = (texts.intern(library), texts.intern(name));
        self.remember_foreign(function, self.sites.intern(Site::Foreign { library, name }))
    }

    fn remember_foreign(&self, function: Address, site: SiteId) -> ForeignFunctionId {
        if site.is_known() {
            self.seen_foreign_functions
                .put(foreign_key(function), site.0);
        }
        ForeignFunctionId(site)
    }
}

fn foreign_key(function: Address) -> u64 {
    Hash::seeded(3).with(function.get() as u64).get()
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests;
