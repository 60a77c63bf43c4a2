//! Whose code or data a loaded object is.

use super::image::Image;
use crate::capture::CXX_RUNTIME_PREFIXES;

/// Who an object belongs to, as far as interception cares.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub(super) enum Owner {
    /// A library or program of the user.
    User = 2,
    /// A module that Python imports.
    ExtensionModule = 3,
    /// The object that holds the Python interpreter.
    Interpreter = 4,
    /// The machinery of foreign calls: `_ctypes`, cffi's backend, libffi.
    ForeignInterface = 5,
    /// The C library and its parts.
    CRuntime = 6,
    /// The C++ run time and the unwinder.
    CxxRuntime = 7,
    /// The dynamic linker, and the kernel's own object.
    Linker = 8,
    /// This library.
    Ourselves = 9,
}

/// The parts of glibc that earlier versions keep in files of their own, and NSS and iconv modules.
const C_RUNTIME_PREFIXES: [&[u8]; 13] = [
    b"libc.so.",
    b"libc-2.",
    b"libm.so.",
    b"libpthread.so.",
    b"libpthread-2.",
    b"libdl.so.",
    b"libdl-2.",
    b"librt.so.",
    b"libresolv.so.",
    b"libutil.so.",
    b"libnss_",
    b"libnsl.so.",
    b"libanl.so.",
];
const FOREIGN_INTERFACE_PREFIXES: [&[u8]; 3] = [b"_ctypes.", b"_cffi_backend.", b"libffi.so."];

impl Owner {
    /// Looks at an object's name and symbols. `is_linker` and `is_ours` know two objects by their
    /// addresses.
    pub(super) fn of(image: &Image<'_>, known: &KnownPlaces) -> Self {
        let name = image.file_name();
        let starts = |prefixes: &[&[u8]]| prefixes.iter().any(|&prefix| name.starts_with(prefix));
        if image.contains(known.ours) {
            Self::Ourselves
        } else if known.is_linker(image) {
            Self::Linker
        } else if starts(&C_RUNTIME_PREFIXES) {
            Self::CRuntime
        } else if starts(&CXX_RUNTIME_PREFIXES) {
            Self::CxxRuntime
        } else if starts(&FOREIGN_INTERFACE_PREFIXES) {
            Self::ForeignInterface
        } else if image.definition(b"Py_IsInitialized").is_some() {
            Self::Interpreter
        } else if image.defines_prefix(b"PyInit_") {
            Self::ExtensionModule
        } else {
            Self::User
        }
    }

    /// Whether slots of the object are to be written.
    pub(super) fn is_patched(self) -> bool {
        !matches!(self, Self::Linker | Self::Ourselves)
    }

    /// Whether functions defined there are the standard ones.
    pub(super) fn is_standard(self) -> bool {
        matches!(self, Self::CRuntime | Self::CxxRuntime)
    }
}

/// Addresses by which objects without a telling name are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownPlaces {
    /// Some code of ours.
    pub(super) ours: usize,
    /// The base of the dynamic linker, or zero.
    pub(super) linker_base: usize,
    /// The header of the vdso, or zero.
    pub(super) vdso: usize,
}

impl KnownPlaces {
    fn is_linker(&self, image: &Image<'_>) -> bool {
        let name = image.file_name();
        (self.linker_base != 0 && image.base() == self.linker_base)
            || (self.vdso != 0 && image.contains(self.vdso))
            || name.starts_with(b"ld-linux")
            || name.starts_with(b"linux-vdso")
    }
}
