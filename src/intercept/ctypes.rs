//! `ffi_call`: every call of a foreign function by ctypes, and by cffi in ABI mode.
//!
//! The call is made known to the thread before, and what it gave to Python is looked at afterwards.
//! `errno` is the program's on both sides: ctypes hands it from and to Python around this call.

#![expect(
    unsafe_code,
    reason = "looks at notes that the call itself may have added to"
)]

use std::ptr::NonNull;

use super::call_results::{self, Returned};
use super::called::Called;
use super::entry::{Frame, FramePlace};
use super::ffi_layout::CallInterface;
use super::foreign_notes::{self, ForeignCall, ForeignNotes};
use super::functions::Function;
use super::real::Real;
use super::targets::Variant;
use super::{gate, python, spans, truncation, type_call};
use crate::memory::reentry::is_our_own_work;

/// `void ffi_call(ffi_cif *interface, void (*function)(void), void *result, void **arguments)`
pub(super) extern "C-unwind" fn ffi_call(
    interface: NonNull<CallInterface>,
    function: usize,
    result: usize,
    arguments: usize,
    frame: FramePlace,
    variant: Variant,
) {
    let call = Call {
        interface,
        function,
        result,
        arguments,
    };
    call.make(Real::of(Function::FfiCall, variant), frame.frame());
}

/// The same under the name that cffi's own copy of libffi has.
pub(super) extern "C-unwind" fn cffi_ffi_call(
    interface: NonNull<CallInterface>,
    function: usize,
    result: usize,
    arguments: usize,
    frame: FramePlace,
    variant: Variant,
) {
    let call = Call {
        interface,
        function,
        result,
        arguments,
    };
    call.make(Real::of(Function::CffiFfiCall, variant), frame.frame());
}

/// A foreign call about to be made.
#[derive(Clone, Copy)]
struct Call {
    interface: NonNull<CallInterface>,
    function: usize,
    result: usize,
    arguments: usize,
}

impl Call {
    #[inline]
    fn make(self, real: Real, frame: Frame) {
        if !gate::is_on() || is_our_own_work() || self.is_seen_already(frame) {
            self.execute(real);
            return;
        }
        self.observe(real, frame);
    }

    /// Whether the same call was seen at the type of ctypes' object.
    #[inline]
    fn is_seen_already(self, frame: Frame) -> bool {
        type_call::is_active()
            && foreign_notes::with_notes(frame, |notes| notes.is_of_type_call(self.function))
                == Some(true)
    }

    #[inline]
    fn execute(self, real: Real) {
        real.call4([
            self.interface.as_ptr().expose_provenance(),
            self.function,
            self.result,
            self.arguments,
        ]);
    }

    fn returned(self) -> Returned {
        let Self {
            interface,
            function,
            result,
            arguments,
        } = self;
        Returned {
            interface,
            function,
            result,
            arguments,
        }
    }

    fn observe(self, real: Real, frame: Frame) {
        let Some(called) = Called::look(self.function) else {
            self.execute(real);
            return;
        };
        let (state, top) = python::thread_state_and_top();
        let mut notes =
            ForeignNotes::new(called.is_direct, top).of_arguments(self.interface, self.arguments);
        let notes = NonNull::from(&mut notes);
        let _call = ForeignCall::begin(notes, called.id, frame, state);
        if truncation::is_waiting() {
            call_results::look_at_arguments(self.interface, self.arguments);
        }
        if called.is_in_c_library {
            spans::look_at_call(self.function, self.interface, self.arguments);
        }
        self.execute(real);
        // SAFETY: the notes lie in this frame, and the call that added to them is over.
        self.returned().look(unsafe { notes.as_ref() });
    }
}
