//! Owns the reading of Python stacks: the layouts of `CPython` 3.11 to 3.15, the frames of the
//! calling thread, code objects and their lifetime.
//!
//! Promises: needs no interpreter lock and calls no Python; reads only the calling thread's own
//! frames, which cannot go away meanwhile; a layout that is not known is refused, with a reason.
//!
//! Must never: allocate, block, keep an interpreter pointer as if it stayed valid, or write
//! interpreter memory other than the one slot in [`lifetime`].

mod bytecode;
mod chain;
mod code;
mod connect;
mod description;
#[cfg(all(test, not(any(loom, miri))))]
mod fake;
mod frames;
pub(super) mod lifetime;
mod line_table;
mod offsets;
mod peek;
mod status;
mod string;
mod switching;
mod thread_cache;

pub(super) use self::connect::some_code;
pub use self::status::{PythonStatus, PythonVersion};
pub use self::switching::without_python_frames;

use self::bytecode::CallCodes;
use self::chain::Frames;
use self::code::Code;
use self::connect::{Interpreter, Refusal};
use self::frames::{FramePlace, PythonFrame};
use self::thread_cache::ThreadCaches;
use super::hash::Hash;
use crate::capture::foreign::ForeignCall;
use crate::memory::Address;
use crate::memory::sync::{AtomicU32, Ordering};
use once_cell::race::OnceBox;
use std::fmt;

/// The line of an instruction: for `fuzz`.
#[cfg(fuzzing)]
#[must_use]
pub fn line_of(table: &[u8], first_line: i32, lasti: i32) -> Option<u32> {
    line_table::line_of(table, first_line, lasti)
}

/// How stacks are read at the moment.
const NOT_CONNECTED: u32 = 0;
/// Code objects may die unseen, so nothing is remembered.
const FRESH: u32 = 1;
/// The lifetime of code objects is watched.
const REMEMBERING: u32 = 2;
const TURNED_OFF: u32 = 3;

/// The reader of Python stacks.
#[derive(Default)]
pub(super) struct Python {
    interpreter: OnceBox<Interpreter>,
    mode: AtomicU32,
    refusal: AtomicU32,
}

/// What can be done with Python stacks right now.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'python> {
    /// Nothing: not connected, or turned off.
    Off,
    /// Stacks are read, and nothing about them may be remembered by address.
    Fresh(Stack<'python>),
    /// Stacks are read and remembered.
    Remembering(Stack<'python>),
}

/// The Python stack of the calling thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack<'python> {
    interpreter: &'python Interpreter,
}

/// A place in Python code that is being executed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'python> {
    interpreter: &'python Interpreter,
    frame: PythonFrame,
}

impl Python {
    /// Finds the interpreter and begins to watch code objects; cheap to call again.
    pub(super) fn connect(&self) -> PythonStatus {
        if self.mode.load(Ordering::Acquire) == TURNED_OFF {
            return PythonStatus::TurnedOff;
        }
        match self
            .interpreter
            .get_or_try_init(|| connect::find().map(Box::new))
        {
            Ok(interpreter) => {
                let mode = if interpreter.dealloc_slot.hook() {
                    REMEMBERING
                } else {
                    FRESH
                };
                self.set_mode(mode);
            }
            Err(refusal) => self.refusal.store(refusal as u32, Ordering::Release),
        }
        self.status()
    }

    /// Stops watching code objects and leaves no trace in the interpreter.
    pub(super) fn disconnect(&self) {
        let Some(interpreter) = self.interpreter.get() else {
            return;
        };
        // First nothing is remembered any more, then deaths go unseen.
        self.set_mode(FRESH);
        interpreter.dealloc_slot.unhook();
    }

    /// Stops reading for good.
    pub(super) fn turn_off(&self) {
        self.mode.store(TURNED_OFF, Ordering::Release);
        if let Some(interpreter) = self.interpreter.get() {
            interpreter.dealloc_slot.unhook();
        }
    }

    /// Whether stacks are read.
    pub(super) fn status(&self) -> PythonStatus {
        if self.mode.load(Ordering::Acquire) == TURNED_OFF {
            return PythonStatus::TurnedOff;
        }
        if let Some(interpreter) = self.interpreter.get() {
            let Interpreter {
                version,
                free_threaded,
                ..
            } = *interpreter;
            return PythonStatus::Connected {
                version,
                free_threaded,
            };
        }
        match Refusal::from_number(self.refusal.load(Ordering::Acquire)) {
            Refusal::NotPython => PythonStatus::NotPython,
            refusal => PythonStatus::Unsupported {
                reason: refusal.reason(),
            },
        }
    }

    /// The calling thread's stack, where it may be remembered: the usual answer of [`Self::view`].
    #[inline]
    pub(super) fn remembering(&self) -> Option<Stack<'_>> {
        if self.mode.load(Ordering::Acquire) != REMEMBERING {
            return None;
        }
        let interpreter = self.interpreter.get()?;
        Some(Stack { interpreter })
    }

    /// Whether stacks are read, and nothing about them may be remembered.
    #[inline]
    pub(super) fn is_fresh(&self) -> bool {
        self.mode.load(Ordering::Acquire) == FRESH
    }

    /// What can be done with Python stacks right now.
    #[inline]
    pub(super) fn view(&self) -> View<'_> {
        let mode = self.mode.load(Ordering::Acquire);
        let Some(interpreter) = self.interpreter.get() else {
            return View::Off;
        };
        match mode {
            REMEMBERING => View::Remembering(Stack { interpreter }),
            FRESH => View::Fresh(Stack { interpreter }),
            _ => View::Off,
        }
    }

    /// Begins to read this interpreter.
    #[cfg(all(test, not(any(loom, miri))))]
    fn connect_to(&self, interpreter: &Interpreter) {
        let _ = self.interpreter.set(Box::new(*interpreter));
        self.connect();
    }

    /// Changes the mode, unless the reader was turned off.
    fn set_mode(&self, mode: u32) {
        for found in [NOT_CONNECTED, FRESH, REMEMBERING] {
            let change =
                self.mode
                    .compare_exchange(found, mode, Ordering::AcqRel, Ordering::Acquire);
            if change.is_ok() {
                return;
            }
        }
    }
}

impl fmt::Debug for Python {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Python")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl<'python> Stack<'python> {
    /// The innermost frame's address; zero without one.
    #[inline]
    pub(super) fn top(self) -> usize {
        let top = self.interpreter.reader.top().map_or(0, FramePlace::get);
        usize::try_from(top).unwrap_or(0)
    }

    /// The interpreter's state of the calling thread, and the innermost frame's address: zero without
    /// one. The state is asked for once.
    #[inline]
    pub(super) fn thread_and_top(self) -> (Option<Address>, usize) {
        let reader = &self.interpreter.reader;
        let state = reader.thread_state();
        let top = state.and_then(|state| reader.top_of(state));
        let top = top.map_or(0, FramePlace::get);
        (state, usize::try_from(top).unwrap_or(0))
    }

    /// The innermost frame's address, and that of its current instruction.
    pub(super) fn top_place(self) -> Option<(usize, u64)> {
        let top = self.interpreter.reader.top()?;
        let instruction = self.interpreter.reader.instruction(top);
        Some((usize::try_from(top.get()).ok()?, instruction))
    }

    /// Whether the innermost frame is executing a call, as a statement of its own, whose result goes
    /// nowhere. `false` when that is not known.
    pub(super) fn drops_result(self) -> bool {
        let reader = &self.interpreter.reader;
        let codes = CallCodes::of(self.interpreter.version);
        let frame = reader.top().filter(|&top| reader.read(top).is_some());
        frame
            .zip(codes)
            .is_some_and(|(frame, codes)| reader.drops_result(frame, &codes))
    }

    /// A number that stands for this stack for as long as `generation` lasts; `None` on a thread
    /// that runs no Python code.
    #[inline]
    pub(super) fn key(self, generation: u64, call: Option<ForeignCall>) -> Option<u64> {
        chain::key(
            &self.interpreter.reader,
            ThreadCaches::mine(),
            (generation, call),
        )
    }

    /// Shows each place, innermost first, to `visit`; answers whether the stack had more frames
    /// than are kept.
    pub(super) fn visit(self, mut visit: impl FnMut(Place<'python>)) -> bool {
        let reader = &self.interpreter.reader;
        let mut frames = Frames::of_this_thread(reader);
        for frame in frames.by_ref() {
            if let Some(frame) = reader.read(frame) {
                visit(Place {
                    interpreter: self.interpreter,
                    frame,
                });
            }
        }
        frames.is_cut()
    }
}

impl<'python> Place<'python> {
    /// A number that stands for this place for as long as its code object lives.
    pub(super) fn key(self) -> u64 {
        let PythonFrame { code, lasti } = self.frame;
        let deaths = u64::from(lifetime::deaths(code));
        let lasti = u64::from(lasti.cast_unsigned());
        Hash::seeded(1)
            .with(code.get() as u64)
            .with(deaths << 32 | lasti)
            .get()
    }

    /// Notes that a stack with this place in it is going to be remembered in `generation`.
    pub(super) fn note_sighting(self, generation: u64) {
        lifetime::note_sighting(self.frame.code, generation);
    }

    /// Hands the file's name to `use_text`.
    pub(super) fn with_file<T>(self, use_text: impl FnOnce(&[u8]) -> T) -> T {
        self.code().with_file_name(use_text)
    }

    /// Hands the function's qualified name to `use_text`.
    pub(super) fn with_function<T>(self, use_text: impl FnOnce(&[u8]) -> T) -> T {
        self.code().with_qualified_name(use_text)
    }

    /// The line; zero when the instruction has none.
    pub(super) fn line(self) -> u32 {
        self.code().line(self.frame.lasti).unwrap_or(0)
    }

    fn code(self) -> Code<'python> {
        self.interpreter.reader.code(self.frame)
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests;
