//! Finding the interpreter in this process and deciding whether its layout is known.

#![expect(
    unsafe_code,
    reason = "looks up and reads the interpreter's exported symbols"
)]

use super::PythonVersion;
use super::description::{self, Build, DESCRIPTION_LENGTH};
use super::frames::{FrameReader, GetThreadState};
use super::lifetime::DeallocSlot;
use super::offsets;
use super::peek::peek;
use crate::memory::Address;
use std::ffi::CStr;

/// An interpreter whose frames can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interpreter {
    pub(super) reader: FrameReader,
    pub(super) dealloc_slot: DeallocSlot,
    pub(super) version: PythonVersion,
    pub(super) free_threaded: bool,
}

/// Why an interpreter's frames cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Refusal {
    /// There is no `CPython` in this process.
    NotPython = 0,
    TooOld = 1,
    PreRelease = 2,
    NotDescribed = 3,
    UnknownVersion = 4,
    MissingSymbol = 5,
    OtherMachine = 6,
}

impl Refusal {
    const ALL: [Self; 7] = [
        Self::NotPython,
        Self::TooOld,
        Self::PreRelease,
        Self::NotDescribed,
        Self::UnknownVersion,
        Self::MissingSymbol,
        Self::OtherMachine,
    ];

    /// The refusal with this number.
    pub(super) fn from_number(number: u32) -> Self {
        Self::ALL
            .into_iter()
            .find(|&refusal| refusal as u32 == number)
            .unwrap_or(Self::NotPython)
    }

    /// The reason, for people.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::NotPython => "there is no CPython interpreter in this process",
            Self::TooOld => "the interpreter is older than Python 3.11",
            Self::PreRelease => "the interpreter is an alpha or beta version",
            Self::NotDescribed => "the interpreter's own description of its layout is not readable",
            Self::UnknownVersion => "this minor version of Python is newer than the known ones",
            Self::MissingSymbol => "the interpreter does not export the symbols that are needed",
            Self::OtherMachine => "the layout is known on 64-bit Linux only",
        }
    }
}

/// The first minor version whose frames can be read.
const MINOR_MIN: u32 = 11;
/// The first minor version that describes its own layout.
const MINOR_DESCRIBED_MIN: u32 = 13;
/// The release level of a release candidate; alpha and beta are below it.
const RELEASE_CANDIDATE: u32 = 0xC;
/// The first eight bytes of `_Py_DebugOffsets`.
const DESCRIPTION_COOKIE: u64 = u64::from_ne_bytes(*b"xdebugpy");

/// Some code of the interpreter in this process, of whatever version.
pub(in crate::capture) fn some_code() -> Option<Address> {
    symbol(c"Py_IsInitialized")
}

/// Looks for an interpreter. Allocates inside `dlsym` where the system does; call it with no lock
/// held.
pub(super) fn find() -> Result<Interpreter, Refusal> {
    if !cfg!(all(target_os = "linux", target_pointer_width = "64")) {
        return Err(Refusal::OtherMachine);
    }
    symbol(c"Py_IsInitialized").ok_or(Refusal::NotPython)?;
    let version = symbol(c"Py_Version").ok_or(Refusal::TooOld)?;
    // SAFETY: `Py_Version` is an exported constant of type unsigned long since 3.11.
    let version = PythonVersion::from_hex(unsafe { peek::<u64>(version, 0) });
    let get_thread_state =
        symbol(c"PyGILState_GetThisThreadState").ok_or(Refusal::MissingSymbol)?;
    let code_type = symbol(c"PyCode_Type").ok_or(Refusal::MissingSymbol)?;
    let runtime = symbol(c"_PyRuntime").ok_or(Refusal::MissingSymbol)?;
    let (offsets, free_threaded) = layout(version, runtime)?;
    let function = std::ptr::with_exposed_provenance::<u8>(get_thread_state.get());
    // SAFETY: the symbol is this function, which takes nothing and returns a pointer.
    let get_thread_state = unsafe { std::mem::transmute::<*const u8, GetThreadState>(function) };
    // SAFETY: `layout` answered for the interpreter that exports these symbols; libpython is
    // never unloaded.
    let reader = unsafe { FrameReader::new(offsets, get_thread_state, code_type, runtime) };
    // SAFETY: `PyCode_Type` is a static type object in the interpreter's writable data.
    let dealloc_slot = unsafe { DeallocSlot::at(code_type.offset_by(offsets.type_dealloc)) };
    Ok(Interpreter {
        reader,
        dealloc_slot,
        version,
        free_threaded,
    })
}

fn layout(version: PythonVersion, runtime: Address) -> Result<(offsets::Offsets, bool), Refusal> {
    if version.major != 3 || version.minor < MINOR_MIN {
        return Err(Refusal::TooOld);
    }
    if version.release_level < RELEASE_CANDIDATE {
        return Err(Refusal::PreRelease);
    }
    if version.minor < MINOR_DESCRIBED_MIN {
        let offsets = offsets::constant(version.minor).ok_or(Refusal::UnknownVersion)?;
        return Ok((offsets, false));
    }
    let mut numbers = [0_u64; DESCRIPTION_LENGTH];
    for (place, number) in numbers.iter_mut().enumerate() {
        // SAFETY: `_PyRuntime` begins with the description, and is many times longer than that.
        *number = unsafe { peek::<u64>(runtime, place * size_of::<u64>()) };
    }
    let [cookie, described_version, free_threaded, ..] = numbers;
    if cookie != DESCRIPTION_COOKIE || PythonVersion::from_hex(described_version) != version {
        return Err(Refusal::NotDescribed);
    }
    let free_threaded = free_threaded != 0;
    let build = Build {
        minor: version.minor,
        free_threaded,
    };
    let offsets = description::described(build, &numbers).ok_or(Refusal::UnknownVersion)?;
    Ok((offsets, free_threaded))
}

fn symbol(name: &CStr) -> Option<Address> {
    // SAFETY: the name is a C string; the handle means every object loaded for global use.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if found.is_null() {
        None
    } else {
        Some(Address::new(found.expose_provenance()))
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_an_interpreter_is_not_python() {
        assert_eq!(find().err(), Some(Refusal::NotPython));
    }

    #[test]
    fn versions_out_of_range_are_refused() {
        let runtime = [0_u64; DESCRIPTION_LENGTH];
        let address = Address::new(runtime.as_ptr().expose_provenance());
        let layout_of = |hex| layout(PythonVersion::from_hex(hex), address).err();
        assert_eq!(layout_of(0x030A_00F0), Some(Refusal::TooOld));
        assert_eq!(layout_of(0x030C_00B1), Some(Refusal::PreRelease));
        assert_eq!(layout_of(0x030B_02F0), None);
        assert_eq!(layout_of(0x030D_00F0), Some(Refusal::NotDescribed));
    }

    #[test]
    fn every_refusal_has_its_own_number_and_reason() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_number(refusal as u32), refusal);
        }
        assert_eq!(Refusal::from_number(99), Refusal::NotPython);
    }
}
