//! `ffi_call`: every call of a foreign function by ctypes, and by cffi in ABI mode.
//!
//! The call is made known to the thread before, and what it gave to Python is looked at afterwards.
//! `errno` is the program's on both sides: ctypes hands it from and to Python around this call.

use std::ptr::NonNull;

use super::call_results::{self, CallInterface};
use super::entry::Frame;
use super::errno::KeptErrno;
use super::foreign_notes::{ForeignCall, ForeignNotes};
use super::functions::Function;
use super::owner::Owner;
use super::page_kinds::{self, PageKind};
use super::real::Real;
use super::targets::Variant;
use super::{entry, gate, install, python};
use crate::capture::foreign::ForeignFunctionId;
use crate::memory::Address;
use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use crate::tracker;

/// `void ffi_call(ffi_cif *interface, void (*function)(void), void *result, void **arguments)`
pub(super) extern "C-unwind" fn ffi_call(
    interface: *const CallInterface,
    function: usize,
    result: usize,
    arguments: usize,
    frame: Frame,
    variant: Variant,
) {
    let call = Call {
        interface,
        function,
        result,
        arguments,
    };
    call.make(Real::of(Function::FfiCall, variant), frame);
}

/// The same under the name that cffi's own copy of libffi has.
pub(super) extern "C-unwind" fn cffi_ffi_call(
    interface: *const CallInterface,
    function: usize,
    result: usize,
    arguments: usize,
    frame: Frame,
    variant: Variant,
) {
    let call = Call {
        interface,
        function,
        result,
        arguments,
    };
    call.make(Real::of(Function::CffiFfiCall, variant), frame);
}

/// A foreign call about to be made.
#[derive(Clone, Copy)]
struct Call {
    interface: *const CallInterface,
    function: usize,
    result: usize,
    arguments: usize,
}

impl Call {
    #[inline]
    fn make(self, real: Real, frame: Frame) {
        if !gate::is_on() || is_our_own_work() {
            self.execute(real);
            return;
        }
        self.observe(real, frame);
    }

    #[inline]
    fn execute(self, real: Real) {
        real.call4([
            self.interface.expose_provenance(),
            self.function,
            self.result,
            self.arguments,
        ]);
    }

    fn observe(self, real: Real, frame: Frame) {
        let is_ours = page_kinds::kind_of(self.function) == PageKind::Image(Owner::Ourselves);
        let is_direct = is_ours && entry::is_entry(self.function);
        if is_ours && !is_direct {
            // Python calls this library: nothing foreign about it.
            self.execute(real);
            return;
        }
        let Some(function) = prepare(self.function) else {
            self.execute(real);
            return;
        };
        let mut notes = ForeignNotes::new(is_direct, python::top_frame());
        let place = NonNull::from(&mut notes);
        let _call = ForeignCall::begin(place, function, frame);
        self.execute(real);
        call_results::look(self.interface, self.result, self.arguments, place);
    }
}

/// What must be done before a foreign call: libraries loaded since the last one are looked at, and
/// the function gets its name.
#[inline]
pub(super) fn prepare(function: usize) -> Option<ForeignFunctionId> {
    let _errno = KeptErrno::keep();
    install::look_for_new_libraries();
    python::connect_once();
    let _ours = OurOwnWork::begin();
    let tracker = tracker::tracker()?;
    Some(
        tracker
            .capture()
            .foreign_function_at(Address::new(function)),
    )
}
