//! `dlsym`: how ctypes gets at `malloc` and `free` of a library it opened, past every slot.
//!
//! A name of the table is answered with our entry for the real function found. Everything else goes
//! on to the real `dlsym` with the caller's return address in place (`entry.rs`), for the meaning of
//! `RTLD_NEXT` and `RTLD_DEFAULT` depends on it.

#![expect(unsafe_code, reason = "reads the name that the program passed")]

use std::ffi::{CStr, c_char};

use super::entry::{Frame, entry_address};
use super::errno::KeptErrno;
use super::functions::Function;
use super::owner::Owner;
use super::page_kinds::{self, PageKind};
use super::real::Real;
use super::targets::Variant;
use super::{foreign_calls, gate, install, python};
use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use crate::memory::{Address, FrameAddress};
use crate::tracker;

/// `RTLD_NEXT`: the next definition after the caller's object. Wrappers of `malloc` ask for it, and
/// must get what they would have got.
const NEXT: usize = usize::MAX;

/// `void *dlsym(void *handle, const char *name)`; zero means that the real function is to answer.
pub(super) extern "C-unwind" fn dlsym(
    handle: usize,
    name: *const c_char,
    frame: Frame,
    variant: Variant,
) -> usize {
    if is_our_own_work() || !gate::is_on() || name.is_null() {
        return 0;
    }
    let _errno = KeptErrno::keep();
    install::look_for_new_libraries();
    if is_interpreters(frame.caller()) {
        python::connect_once();
        foreign_calls::look();
    }
    if handle == NEXT {
        return 0;
    }
    // SAFETY: the contract of dlsym: a NUL-terminated name.
    let symbol = unsafe { CStr::from_ptr(name) }.to_bytes();
    let received = Function::named(symbol).filter(|function| function.is_received_from(b""));
    let Some(function) = received else {
        return 0;
    };
    // For RTLD_DEFAULT this searches from our object instead of the caller's. Where the two differ
    // (a function that only libraries opened locally have) ours finds nothing, and the real one
    // answers.
    let found = Real::of(Function::Dlsym, variant).call2(handle, name.expose_provenance());
    if found == 0 {
        0
    } else {
        replace(function, found)
    }
}

/// Whether the interpreter or its foreign-call machinery asks.
fn is_interpreters(caller: FrameAddress) -> bool {
    let kind = page_kinds::kind_of(caller.call_address());
    matches!(
        kind,
        PageKind::Image(Owner::Interpreter | Owner::ForeignInterface)
    )
}

/// The entry that stands for a function that was looked up, or the function itself.
fn replace(function: Function, found: usize) -> usize {
    let _ours = OurOwnWork::begin();
    let Some((variant, library)) = install::entry_for(function, found) else {
        return found;
    };
    let entry = entry_address(function, variant);
    if let Some(tracker) = tracker::tracker() {
        // Else a call of the entry would be shown as a call of this library.
        let name = function.symbol().as_bytes();
        tracker
            .capture()
            .learn_foreign_function(Address::new(entry), &library, name);
    }
    entry
}
