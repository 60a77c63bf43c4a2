//! Owns where events come from: Python stacks, foreign functions, native callers, locations given
//! by C callers, and the tables that keep each of them once.
//!
//! Promises: an event whose stack was seen before is named without allocation, lock, system call
//! or interpreter lock; a [`StackId`] means the same until exit and is read without touching the
//! program's memory; equal stacks have equal numbers, also when code objects are made anew.
//!
//! Must never: run Python code, symbolise on the allocation path, know what a block is, or judge.
//! What does not fit its limits is left out and counted ([`CaptureCounters`]).

pub mod foreign;
mod frame;
mod hash;
mod intern_table;
mod location;
mod native;
mod python;
mod seen_cache;
mod site_table;
mod stack_table;
mod text_table;

pub use self::foreign::ForeignFunctionId;
pub use self::frame::{ForeignFunction, Frame, SuppliedFrame};
pub use self::location::LocationId;
pub use self::python::{PythonStatus, PythonVersion};
pub use self::stack_table::PYTHON_FRAME_COUNT_MAX;

use self::hash::Hash;
use self::python::{Place, Python, View, lifetime};
use self::seen_cache::SeenCache;
use self::site_table::{Site, SiteId, SiteTable};
use self::stack_table::{NewStack, StackTable};
use self::text_table::TextId;
use crate::ledger::StackId;
use crate::memory::sync::{AtomicU32, Ordering};
use crate::memory::thread_local::{Word, get, set};
use crate::memory::{Address, FrameAddress};

/// What the caller of an exported function knows about the place of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventPlace {
    /// The return address into the native code that called us, or [`FrameAddress::UNKNOWN`].
    pub caller: FrameAddress,
    /// What a C caller said, or [`LocationId::NONE`]. Stands in front of `caller`.
    pub location: LocationId,
}

impl EventPlace {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        caller: FrameAddress::UNKNOWN,
        location: LocationId::NONE,
    };
}

/// What is stored and what was left out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CaptureCounters {
    /// Different stacks stored.
    pub stack_count: u64,
    /// Different places in code stored.
    pub site_count: u64,
    /// Different texts stored.
    pub text_count: u64,
    /// Bytes all of them take.
    pub byte_count: u64,
    /// Stacks of more than [`PYTHON_FRAME_COUNT_MAX`] Python frames, cut there.
    pub stack_cut_count: u64,
    /// Stacks for which there was no room; their events have no origin.
    pub stack_dropped_count: u64,
    /// Places for which there was no room; their stacks lack a frame.
    pub site_dropped_count: u64,
    /// Texts that were too long, cut.
    pub text_cut_count: u64,
    /// Texts for which there was no room; their frames lack a name.
    pub text_dropped_count: u64,
}

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
    hidden_directories: [AtomicU32; HIDDEN_DIRECTORY_COUNT_MAX],
}

impl Capture {
    /// Empty tables; `None` when the kernel refuses pages.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self {
            stacks: StackTable::new()?,
            sites: SiteTable::new()?,
            seen_stacks: SeenCache::new(STACK_CACHE_BITS)?,
            seen_sites: SeenCache::new(SITE_CACHE_BITS)?,
            seen_foreign_functions: SeenCache::new(FOREIGN_CACHE_BITS)?,
            python: Python::default(),
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
        // Before the frames are looked at: a code object that dies after this has no frame here.
        let generation = lifetime::generation();
        let event = Event {
            place,
            foreign: foreign::current(),
            generation,
        };
        let view = self.python.view();
        let python = match view {
            View::Off => get(Word::SuppliedOrigin) as u64,
            View::Fresh(_) => return self.resolve(event, view),
            View::Remembering(stack) => stack.key(generation),
        };
        let key = event.key(python);
        match self.seen_stacks.get(key) {
            Some(DROPPED_STACK) => StackId::UNKNOWN,
            Some(number) => StackId(number),
            None => self.resolve_and_remember(event, view, key),
        }
    }

    /// Stores a location that a C caller gave; [`LocationId::NONE`] when it gave nothing.
    #[must_use]
    pub fn intern_location(&self, file: &[u8], line: u32, function: &[u8]) -> LocationId {
        location::intern(&self.sites, file, line, function)
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
        stack.push(self.native_site(event.place));
        let is_cut = match view {
            View::Off => {
                self.supplied_sites().for_each(|site| stack.push(site));
                false
            }
            View::Fresh(python) => python.visit(|place| stack.push(self.decode(place))),
            View::Remembering(python) => python.visit(|place| {
                place.note_sighting(event.generation);
                stack.push(self.python_site(place));
            }),
        };
        if is_cut {
            self.stacks.note_cut();
        }
        self.stacks.intern(&stack)
    }

    fn native_site(&self, place: EventPlace) -> SiteId {
        if place.location != LocationId::NONE {
            return place.location.site();
        }
        if !place.caller.is_known() {
            return SiteId::NONE;
        }
        let key = Hash::seeded(2)
            .with(place.caller.return_address() as u64)
            .get();
        if let Some(number) = self.seen_sites.get(key) {
            return SiteId(number);
        }
        let site = native::intern(&self.sites, place.caller);
        self.seen_sites.put(key, site.0);
        site
    }

    fn python_site(&self, place: Place<'_>) -> SiteId {
        let key = place.key();
        match self.seen_sites.get(key) {
            Some(HIDDEN_SITE) => SiteId::NONE,
            Some(number) => SiteId(number),
            None => {
                let site = self.decode(place);
                self.seen_sites
                    .put(key, if site.is_known() { site.0 } else { HIDDEN_SITE });
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

    /// Makes a supplied stack the Python part of the next events on this thread, as long as the
    /// native reader is off. [`StackId::UNKNOWN`] ends it.
    pub fn set_supplied(&self, stack: StackId) {
        set(Word::SuppliedOrigin, stack.0 as usize);
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
        self.stacks.sites(StackId(supplied))
    }
}

/// Foreign functions.
impl Capture {
    /// The foreign function that begins at `function`, named by the loader's tables unless
    /// [`Self::learn_foreign_function`] named it. No lookup once it has been seen.
    #[must_use]
    pub fn foreign_function_at(&self, function: Address) -> ForeignFunctionId {
        let key = Hash::seeded(3).with(function.get() as u64).get();
        if let Some(number) = self.seen_foreign_functions.get(key) {
            return ForeignFunctionId(SiteId(number));
        }
        let site = native::intern_foreign(&self.sites, function);
        self.seen_foreign_functions.put(key, site.0);
        ForeignFunctionId(site)
    }

    /// Names the foreign function that begins at `function`, as whoever looked it up called it.
    pub fn learn_foreign_function(&self, function: Address, library: &[u8], name: &[u8]) {
        let texts = self.sites.texts();
        let (library, name) = (texts.intern(library), texts.intern(name));
        let site = self.sites.intern(Site::Foreign { library, name });
        let key = Hash::seeded(3).with(function.get() as u64).get();
        self.seen_foreign_functions.put(key, site.0);
    }
}

/// For reports.
impl Capture {
    /// The frames of a stack, innermost first. None for [`StackId::UNKNOWN`].
    #[must_use]
    pub fn frames(&self, stack: StackId) -> Vec<Frame> {
        self.stacks
            .sites(stack)
            .filter_map(|site| self.frame(site))
            .collect()
    }

    /// The foreign function that was being executed.
    #[must_use]
    pub fn foreign_function(&self, stack: StackId) -> Option<ForeignFunction> {
        match self.sites.site(self.stacks.foreign(stack))? {
            Site::Foreign { library, name } => {
                let texts = self.sites.texts();
                Some(ForeignFunction {
                    library: texts.text(library),
                    name: texts.text(name),
                })
            }
            Site::Python { .. } | Site::Location { .. } | Site::Caller { .. } => None,
        }
    }

    /// What is stored and what was left out.
    #[must_use]
    pub fn counters(&self) -> CaptureCounters {
        let (stacks, sites) = (self.stacks.records(), self.sites.records());
        let texts = self.sites.texts().records();
        let byte_count = stacks.byte_count() + sites.byte_count() + texts.byte_count();
        CaptureCounters {
            stack_count: stacks.len() as u64,
            site_count: sites.len() as u64,
            text_count: texts.len() as u64,
            byte_count: byte_count as u64,
            stack_cut_count: self.stacks.cut_count(),
            stack_dropped_count: stacks.dropped_count(),
            site_dropped_count: sites.dropped_count(),
            text_cut_count: self.sites.texts().cut_count(),
            text_dropped_count: texts.dropped_count(),
        }
    }

    fn frame(&self, site: SiteId) -> Option<Frame> {
        let text = |id| self.sites.texts().text(id);
        let nothing = String::new;
        Some(match self.sites.site(site)? {
            Site::Python {
                file,
                function,
                line,
            } => Frame::Python {
                file: text(file),
                line,
                function: text(function),
            },
            Site::Location {
                file,
                function,
                line,
            } => Frame::Native {
                library: nothing(),
                function: text(function),
                file: text(file),
                line,
                address: 0,
            },
            Site::Caller {
                library,
                function,
                address,
            } => Frame::Native {
                library: text(library),
                function: text(function),
                file: nothing(),
                line: 0,
                address,
            },
            Site::Foreign { .. } => return None,
        })
    }
}

/// What an event brings along besides the Python stack.
#[derive(Clone, Copy)]
struct Event {
    place: EventPlace,
    foreign: ForeignFunctionId,
    generation: u64,
}

impl Event {
    /// What its stack is recognised by, together with the number of the Python stack.
    #[inline(always)]
    fn key(self, python: u64) -> u64 {
        /// Tells the number of a location from an address.
        const LOCATION: u64 = 1 << 63;
        const FOREIGN_SHIFT: u32 = 40;
        let place = match self.place.location {
            LocationId::NONE => self.place.caller.return_address() as u64,
            location => u64::from(location.site().0) | LOCATION,
        };
        let foreign = u64::from(self.foreign.0.0) << FOREIGN_SHIFT;
        Hash::seeded(python)
            .with(place)
            .with(foreign ^ self.generation)
            .get()
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests;
