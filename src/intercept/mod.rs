//! Owns how calls meant for other functions reach us: the table of functions, the entries, and the
//! relocation slots that were rewritten.
//!
//! Promises: a call that we receive ends in the function it would have ended in without us, with
//! the same arguments and result, `errno` and exceptions included; every slot is restored by
//! [`remove`]; what cannot be intercepted is left alone and named by `doctor`.
//!
//! Must never: allocate from glibc, export a symbol of the functions it intercepts, write to an
//! object that ld.so is still relocating or has unloaded, or wait for the interpreter's lock.

mod allocator;
mod book;
mod call_results;
mod called;
mod chunk;
mod conversion;
mod cookie;
mod copying;
mod crash;
mod ctypes;
mod cxx;
mod death;
mod doctor;
mod elf_layout;
mod entry;
mod errno;
mod ffi_layout;
mod foreign_calls;
mod foreign_notes;
mod functions;
mod gate;
mod given;
mod hand_over;
mod image;
mod install;
mod leave;
mod load_counts;
mod loaded;
mod lookup;
mod mappings;
mod opened;
mod outer;
mod owner;
mod page_kinds;
mod pass;
mod patching;
mod python;
mod python_api;
mod raw;
mod real;
mod release;
mod resize;
mod rewriting;
mod scope;
mod signal_stack;
mod signals;
mod slot;
mod spans;
mod stack;
mod switching;
mod targets;
mod threads;
mod transfers;
mod truncation;
mod type_call;
mod unknown;
mod unload;

pub use death::hold_crashing_threads;
pub use doctor::{
    Doctor, ForeignCallState, FunctionState, ObjectState, SlotState, doctor, protected_slot_count,
};
pub use install::{InstallError, install, is_on, remove};
pub use leave::set_last_words;
pub use mappings::can_read_mappings;
