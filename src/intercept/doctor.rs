//! What can be intercepted in this process, as plain data for people.

#![expect(unsafe_code, reason = "asks the C library for its version")]

use std::ffi::CStr;

use serde::Serialize;

use super::book::{Book, Progress};
use super::foreign_calls::{self, Path};
use super::functions::{Function, Role};
use super::owner::Owner;
use super::targets::{self, MAIN_VARIANT};
use super::type_call::Refusal;
use super::{gate, patching};

/// What is intercepted, and why not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Doctor {
    /// Whether calls are being received now.
    pub active: bool,
    /// The C library.
    pub c_library: String,
    /// Each function of the table.
    pub functions: Vec<FunctionState>,
    /// How calls of foreign functions by ctypes are seen.
    pub foreign_calls: ForeignCallState,
    /// The loaded objects.
    pub objects: ObjectState,
    /// Slots that were left alone, by reason.
    pub slots_left_alone: SlotState,
    /// What is missing, as sentences; empty when everything is there.
    pub troubles: Vec<String>,
}

/// One function of the table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FunctionState {
    /// Its symbol.
    pub name: &'static str,
    /// What it does.
    pub role: &'static str,
    /// Slots that lead to us now.
    pub slot_count: usize,
    /// Real functions of this name that were met.
    pub real_function_count: usize,
    /// Whether the one most of the process uses is the C library's or the C++ run time's: only then
    /// its blocks get a redzone and may be withheld.
    pub is_standard: bool,
}

/// How calls of foreign functions by ctypes are seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ForeignCallState {
    /// `ffi_call`, `tp_call` or `none`.
    pub path: &'static str,
    /// Why, in a sentence.
    pub reason: &'static str,
}

/// The loaded objects.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct ObjectState {
    /// Objects whose slots were looked at.
    pub looked_at_count: usize,
    /// Objects that ld.so was still relocating.
    pub waiting: Vec<String>,
    /// Objects that are left out: the dynamic linker, and this library.
    pub left_out: Vec<String>,
}

/// Slots that were left alone, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct SlotState {
    /// Their pages could not be made writable.
    pub protected_count: u64,
    /// More real functions of one name than can be told apart.
    pub without_variant_count: u64,
    /// What they hold was not understood.
    pub unresolved_count: u64,
}

/// Looks at what is intercepted now.
#[must_use]
pub fn doctor() -> Doctor {
    let foreign_calls = foreign_call_state(foreign_calls::path());
    let state = patching::with_book(|book| {
        let functions = Function::ALL
            .iter()
            .map(|&row| function_state(book, row))
            .collect();
        let left_alone = SlotState {
            protected_count: book.left_alone.protected,
            without_variant_count: book.left_alone.without_variant,
            unresolved_count: book.left_alone.unresolved,
        };
        (functions, object_state(book), left_alone)
    });
    let lost = state.is_none();
    let (functions, objects, slots_left_alone) = state.unwrap_or_default();
    let mut doctor = Doctor {
        active: gate::is_on(),
        c_library: c_library(),
        functions,
        foreign_calls,
        objects,
        slots_left_alone,
        troubles: Vec::new(),
    };
    doctor.troubles = troubles(&doctor, lost);
    doctor
}

/// Slots that were left alone because their memory could not be made writable.
#[must_use]
pub fn protected_slot_count() -> u64 {
    patching::with_book(|book| book.left_alone.protected).unwrap_or_default()
}

fn function_state(book: &Book, function: Function) -> FunctionState {
    FunctionState {
        name: function.symbol(),
        role: role_name(function.role()),
        slot_count: book.slot_count(function),
        real_function_count: targets::variant_count(function),
        is_standard: targets::is_standard(function, MAIN_VARIANT),
    }
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Allocate => "allocates",
        Role::Resize => "resizes",
        Role::Release => "releases",
        Role::Measure => "measures",
        Role::HandOver => "allocates for its caller",
        Role::Lookup => "looks symbols up",
        Role::ForeignCall => "calls foreign functions",
        Role::Unload => "unloads libraries",
        Role::StartThread => "starts threads",
        Role::Signal => "handles signals",
        Role::Leave => "ends the process",
        Role::Convert => "copies memory into text",
        Role::SwitchStack => "exchanges stacks",
        Role::Copy => "copies memory",
        Role::Transfer => "has the kernel read or write memory",
    }
}

fn object_state(book: &Book) -> ObjectState {
    let mut state = ObjectState::default();
    for image in &book.images {
        match (image.owner.is_patched(), image.progress) {
            (false, _) => state.left_out.push(label(&image.name, image.owner)),
            (true, Progress::Done) => state.looked_at_count += 1,
            (true, Progress::BeingRelocated(_)) => {
                state.waiting.push(label(&image.name, image.owner));
            }
        }
    }
    state
}

fn label(name: &str, owner: Owner) -> String {
    match (name, owner) {
        ("", Owner::Linker) => "the kernel's object".to_owned(),
        ("", _) => "the program".to_owned(),
        _ => name.to_owned(),
    }
}

const fn foreign_call_state(path: Path) -> ForeignCallState {
    let (path, reason) = match path {
        Path::Slot => ("ffi_call", "ctypes calls libffi through a slot"),
        Path::Types => (
            "tp_call",
            "libffi is part of the interpreter, or the options say so",
        ),
        Path::None(Refusal::NoInterpreter) => ("none", "there is no Python interpreter here"),
        Path::None(Refusal::NotImported) => ("none", "ctypes has not been imported"),
        Path::None(Refusal::UnknownLayout) => (
            "none",
            "the interpreter's types are not laid out as in Python 3.11 to 3.15",
        ),
    };
    ForeignCallState { path, reason }
}

fn c_library() -> String {
    // SAFETY: takes nothing and returns a constant string.
    let version = unsafe { libc::gnu_get_libc_version() };
    // SAFETY: the string is a constant of the C library.
    let version = unsafe { CStr::from_ptr(version) };
    format!("glibc {}", version.to_string_lossy())
}

fn troubles(doctor: &Doctor, lost: bool) -> Vec<String> {
    let mut troubles = Vec::new();
    if lost {
        troubles.push(super::InstallError::LostInFork.to_string());
    }
    let left = doctor.slots_left_alone;
    let mut note = |count: u64, what: &str| {
        if count > 0 {
            troubles.push(format!("{count} slots are not intercepted: {what}"));
        }
    };
    note(left.protected_count, "their memory cannot be made writable");
    note(
        left.without_variant_count,
        "the process has too many functions of one name",
    );
    note(left.unresolved_count, "what they lead to was not found");
    let malloc = doctor
        .functions
        .iter()
        .find(|function| function.name == "malloc");
    if malloc.is_some_and(|malloc| malloc.real_function_count > 0 && !malloc.is_standard) {
        troubles.push(
            "malloc is not the C library's: blocks get no redzone and are not withheld".to_owned(),
        );
    }
    troubles
}
