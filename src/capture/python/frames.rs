//! Reading the calling thread's frames by offset: no interpreter lock, no allocation.

#![expect(unsafe_code, reason = "reads interpreter frames by offset")]

use super::bytecode::CallCodes;
use super::code::Code;
use super::offsets::Offsets;
use super::peek::{peek, peek_address};
use super::switching;
use crate::capture::foreign;
use crate::memory::Address;

/// `PyGILState_GetThisThreadState`: the state last active on the calling thread, also while
/// `ctypes` has released the lock, where `PyThreadState_GetUnchecked` answers null.
pub(super) type GetThreadState = unsafe extern "C" fn() -> *mut u8;

/// `FRAME_OWNED_BY_GENERATOR`.
const OWNED_BY_GENERATOR: u8 = 1;
const BYTES_PER_CODE_UNIT: i32 = 2;
const CODE_UNIT_BYTES: usize = 2;
/// An array of bytecode copies: how many there are, then their addresses.
const COPY_COUNT: usize = 0;
const COPIES_START: usize = 8;
const COPY_STRIDE: usize = 8;

/// What frames are read with.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameReader {
    offsets: Offsets,
    get_thread_state: GetThreadState,
    code_type: Address,
    /// Where the runtime notes which thread finalises it.
    finalizing_thread: Address,
}

/// A frame in the calling thread's chain.
///
/// Made only by [`FrameReader::top`] and [`FrameReader::previous`] (or proved equal to their
/// answer), used at once, on the same thread: while the thread is in here it runs no Python code,
/// so none of its frames can go away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FramePlace(Address);

/// A complete frame of Python code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PythonFrame {
    /// The code object.
    pub(super) code: Address,
    /// The instruction: bytes from the start of the code.
    pub(super) lasti: i32,
}

impl FrameReader {
    /// A reader of this interpreter's frames.
    ///
    /// # Safety
    /// * `offsets` describe the interpreter that the other arguments belong to.
    /// * `code_type` is its `PyCode_Type` and `runtime` its `_PyRuntime`.
    /// * All of them stay loaded until the process ends.
    pub(super) const unsafe fn new(
        offsets: Offsets,
        get_thread_state: GetThreadState,
        code_type: Address,
        runtime: Address,
    ) -> Self {
        let finalizing_thread = runtime.offset_by(offsets.finalizing_thread);
        Self {
            offsets,
            get_thread_state,
            code_type,
            finalizing_thread,
        }
    }

    /// Whether the build's threads run their own copies of the bytecode.
    #[inline]
    pub(super) const fn has_bytecode_copies(&self) -> bool {
        self.offsets.frame.bytecode_index.is_some()
    }

    /// The innermost frame of the calling thread; `None` when it runs no Python code.
    #[inline]
    pub(super) fn top(&self) -> Option<FramePlace> {
        self.top_of(self.thread_state()?)
    }

    /// The same where the calling thread's state is known.
    #[inline]
    pub(super) fn top_of(&self, thread: Address) -> Option<FramePlace> {
        if switching::is_in_progress() {
            return None;
        }
        let holder = self.frame_holder_of(thread)?;
        // SAFETY: the holder is this thread's state or C frame, which `offsets` describe.
        place(unsafe { peek_address(holder, self.offsets.current_frame) })
    }

    /// The next frame outward.
    #[inline]
    pub(super) fn previous(&self, frame: FramePlace) -> Option<FramePlace> {
        // SAFETY: a `FramePlace` is a frame of this thread, which `offsets` describe.
        place(unsafe { peek_address(frame.0, self.offsets.frame.previous) })
    }

    /// The address of the frame's current instruction.
    #[inline]
    pub(super) fn instruction(&self, frame: FramePlace) -> u64 {
        // SAFETY: as in `previous`.
        unsafe { peek::<u64>(frame.0, self.offsets.frame.instruction) }
    }

    /// Whether this is one of the interpreter's own frames, between Python code and C code.
    #[inline]
    pub(super) fn is_entry(&self, frame: FramePlace) -> bool {
        self.owner(frame) >= self.offsets.frame.first_entry_owner
    }

    /// What owns the frame's memory, as the interpreter numbers it.
    #[inline]
    pub(super) fn owner(&self, frame: FramePlace) -> u8 {
        // SAFETY: as in `previous`.
        unsafe { peek::<u8>(frame.0, self.offsets.frame.owner) }
    }

    /// The address of what the frame executes: usually a code object.
    #[inline]
    pub(super) fn executable(&self, frame: FramePlace) -> Address {
        // SAFETY: as in `previous`.
        let tagged = unsafe { peek::<usize>(frame.0, self.offsets.frame.code) };
        Address::new(tagged & !self.offsets.frame.code_tag_mask)
    }

    /// The code and instruction of the frame; `None` for an entry frame, for one that executes
    /// something else than a code object, and for one that is still being set up.
    pub(super) fn read(&self, frame: FramePlace) -> Option<PythonFrame> {
        if self.is_entry(frame) {
            return None;
        }
        let code = self.code_object(frame)?;
        let lasti = self.lasti(frame, code)?;
        // SAFETY: the type says that this is a code object.
        let first_traceable = unsafe { peek::<i32>(code, self.offsets.code.first_traceable) };
        let is_set_up = self.owner(frame) == OWNED_BY_GENERATOR
            || lasti >= first_traceable.saturating_mul(BYTES_PER_CODE_UNIT);
        if is_set_up {
            Some(PythonFrame { code, lasti })
        } else {
            None
        }
    }

    /// The code object of a frame that [`Self::read`] answered just now.
    pub(super) fn code(&self, frame: PythonFrame) -> Code<'_> {
        // SAFETY: `read` checked the type, and the frame, which holds a reference, is still there
        // because this thread runs no Python code meanwhile.
        unsafe { Code::at(frame.code, &self.offsets) }
    }

    /// The code object the frame executes; `None` when it executes something else.
    #[inline]
    pub(super) fn code_object(&self, frame: FramePlace) -> Option<Address> {
        let executable = self.executable(frame);
        if executable.is_null() {
            return None;
        }
        // SAFETY: what a frame executes is an object the frame holds a reference to.
        let kind = unsafe { peek_address(executable, self.offsets.object_type) };
        if kind == self.code_type {
            Some(executable)
        } else {
            None
        }
    }

    /// How many bytes into its code object, [`Self::code_object`], the frame's instruction is.
    #[inline]
    pub(super) fn lasti(&self, frame: FramePlace, code: Address) -> Option<i32> {
        let start = self.bytecode_start(frame, code);
        let instruction = self.instruction(frame);
        // Before the first instruction 3.11 and 3.12 point one code unit in front of the code.
        let distance = i64::try_from(instruction).ok()? - i64::try_from(start.get()).ok()?;
        i32::try_from(distance).ok()
    }

    /// Whether the frame's instruction is a call, and the one behind it throws the result away.
    pub(super) fn drops_result(&self, frame: FramePlace, codes: &CallCodes) -> bool {
        let Ok(call) = usize::try_from(self.instruction(frame)).map(Address::new) else {
            return false;
        };
        // SAFETY: the frame executes this instruction, whose first byte is its number.
        if !codes.is_call(unsafe { peek::<u8>(call, 0) }) {
            return false;
        }
        let next = CODE_UNIT_BYTES * (1 + codes.note_count);
        // SAFETY: code never ends with a call: behind it and its notes is another instruction.
        codes.is_drop(unsafe { peek::<u8>(call, next) })
    }

    #[inline]
    fn bytecode_start(&self, frame: FramePlace, code: Address) -> Address {
        let inside = code.offset_by(self.offsets.code.bytecode);
        let (Some(index), Some(copies)) = (
            self.offsets.frame.bytecode_index,
            self.offsets.code.bytecode_copies,
        ) else {
            return inside;
        };
        // SAFETY: the frame is this thread's; the field is there because `index` says so.
        let index = unsafe { peek::<i32>(frame.0, index) };
        // SAFETY: `code` is a code object, and the frame holds a reference to it.
        let copies = unsafe { peek_address(code, copies) };
        let Ok(index) = usize::try_from(index) else {
            return inside;
        };
        if copies.is_null() {
            return inside;
        }
        // SAFETY: an array of copies begins with its length.
        let copy_count = unsafe { peek::<usize>(copies, COPY_COUNT) };
        // Another thread may have replaced the array this very moment; a length that does not fit
        // says so.
        if index >= copy_count {
            return inside;
        }
        // SAFETY: the interpreter made this thread's copy before it let the frame run it.
        unsafe { peek_address(copies, COPIES_START + COPY_STRIDE * index) }
    }

    /// Whether the evaluation that `top` belongs to began before the C stack reached
    /// `stack_pointer`, so that no callback has entered Python since.
    pub(super) fn began_before(&self, top: FramePlace, stack_pointer: Address) -> bool {
        /// Beyond this many inlined calls the question is not pursued.
        const FRAME_COUNT_MAX: usize = 1_000;
        if self.offsets.thread_c_frame.is_some() {
            // To 3.12 the holder is a variable of the evaluation loop, on the C stack.
            return self
                .frame_holder()
                .is_some_and(|holder| holder > stack_pointer);
        }
        // From 3.13 on the entry frame is; the stack grows towards lower addresses.
        let mut frames = std::iter::successors(Some(top), |&frame| self.previous(frame));
        let entry = frames
            .by_ref()
            .take(FRAME_COUNT_MAX)
            .find(|&frame| self.is_entry(frame));
        entry.is_some_and(|entry| entry.0 > stack_pointer)
    }

    /// The interpreter's state of this thread, if it has one that may be read.
    #[inline]
    pub(super) fn thread_state(&self) -> Option<Address> {
        let thread = match foreign::thread_state() {
            Some(thread) => thread,
            // SAFETY: the function takes nothing, needs no interpreter lock, and answers null when
            // this thread has no state, before initialisation and after finalisation.
            None => Address::of(unsafe { (self.get_thread_state)() }),
        };
        // SAFETY: `new` was given the runtime, and the field is an aligned word in it.
        let finalizing = unsafe { peek_address(self.finalizing_thread, 0) };
        // Finalisation releases the states of the other threads while they may still run C code.
        let is_released = !finalizing.is_null() && finalizing != thread;
        (!thread.is_null() && !is_released).then_some(thread)
    }

    /// What holds the pointer to the innermost frame.
    #[inline]
    fn frame_holder(&self) -> Option<Address> {
        self.frame_holder_of(self.thread_state()?)
    }

    #[inline]
    fn frame_holder_of(&self, thread: Address) -> Option<Address> {
        let Some(c_frame) = self.offsets.thread_c_frame else {
            return Some(thread);
        };
        // SAFETY: a thread state that is not null is this thread's own, alive while it runs.
        let c_frame = unsafe { peek_address(thread, c_frame) };
        if c_frame.is_null() {
            None
        } else {
            Some(c_frame)
        }
    }
}

impl FramePlace {
    /// The number of this place, for comparing and remembering.
    #[inline]
    pub(super) const fn get(self) -> u64 {
        self.0.get() as u64
    }

    /// The remembered number as a place, if it is the number of this place.
    ///
    /// The processor then goes on from what was remembered, without waiting for the chain of loads
    /// that led to `self`. The compiler must not learn that both are equal, or it puts the wait
    /// back: so the copy is hidden from it before they are compared.
    #[inline]
    pub(super) fn if_remembered(self, remembered: u64) -> Option<Self> {
        let mut copy = usize::try_from(remembered).ok()?;
        // SAFETY: no instruction at all; the compiler merely forgets where `copy` came from.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) copy, options(pure, nomem, nostack));
        }
        (self.get() == remembered).then_some(Self(Address::new(copy)))
    }
}

#[inline]
fn place(address: Address) -> Option<FramePlace> {
    if address.is_null() {
        None
    } else {
        Some(FramePlace(address))
    }
}
