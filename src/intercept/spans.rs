//! What functions of the C library do with the memory that Python gives them: `ctypes.memmove`,
//! `ctypes.memset`, and those that a program looks up in libc.
//!
//! Owns the table of such functions. Only what each certainly reads or writes is in it: of a function that
//! may stop earlier (at the end of a text, of a file) the first byte.

#![expect(unsafe_code, reason = "looks functions up")]

use super::copying::look_at_span;
use super::errno::KeptErrno;
use super::ffi_layout::{Arguments, CallInterface};
use crate::capture::EventPlace;
use crate::detect::finding::Access;
use crate::memory::reentry::OurOwnWork;
use once_cell::race::OnceBox;
use std::ffi::CStr;
use std::ptr::NonNull;

/// How many bytes a function reads or writes.
#[derive(Clone, Copy, Debug)]
enum Length {
    /// At least one.
    Some,
    /// As many as this argument says.
    Argument(usize),
}

use Access::{Read, Write};
use Length::{Argument, Some as AtLeastOne};

/// An argument that is a pointer, and what is done to the bytes it points at.
type Use = (usize, Length, Access);

/// The functions by name.
const RULES: [(&CStr, &[Use]); 30] = [
    (
        c"memcpy",
        &[(0, Argument(2), Write), (1, Argument(2), Read)],
    ),
    (
        c"memmove",
        &[(0, Argument(2), Write), (1, Argument(2), Read)],
    ),
    (
        c"mempcpy",
        &[(0, Argument(2), Write), (1, Argument(2), Read)],
    ),
    (c"memset", &[(0, Argument(2), Write)]),
    (c"bzero", &[(0, Argument(1), Write)]),
    (c"explicit_bzero", &[(0, Argument(1), Write)]),
    (c"memcmp", &[(0, Argument(2), Read), (1, Argument(2), Read)]),
    (c"bcmp", &[(0, Argument(2), Read), (1, Argument(2), Read)]),
    (c"strlen", &[(0, AtLeastOne, Read)]),
    (c"strnlen", &[(0, AtLeastOne, Read)]),
    (c"wcslen", &[(0, AtLeastOne, Read)]),
    (c"strchr", &[(0, AtLeastOne, Read)]),
    (c"strrchr", &[(0, AtLeastOne, Read)]),
    (c"strstr", &[(0, AtLeastOne, Read), (1, AtLeastOne, Read)]),
    (c"strcmp", &[(0, AtLeastOne, Read), (1, AtLeastOne, Read)]),
    (
        c"strcasecmp",
        &[(0, AtLeastOne, Read), (1, AtLeastOne, Read)],
    ),
    (c"strcpy", &[(0, AtLeastOne, Write), (1, AtLeastOne, Read)]),
    (c"stpcpy", &[(0, AtLeastOne, Write), (1, AtLeastOne, Read)]),
    (c"strcat", &[(0, AtLeastOne, Write), (1, AtLeastOne, Read)]),
    (c"strncpy", &[(0, Argument(2), Write)]),
    (c"strdup", &[(0, AtLeastOne, Read)]),
    (c"sprintf", &[(0, AtLeastOne, Write), (1, AtLeastOne, Read)]),
    (c"puts", &[(0, AtLeastOne, Read)]),
    (c"printf", &[(0, AtLeastOne, Read)]),
    (c"atoi", &[(0, AtLeastOne, Read)]),
    (c"atol", &[(0, AtLeastOne, Read)]),
    (c"atof", &[(0, AtLeastOne, Read)]),
    (c"strtol", &[(0, AtLeastOne, Read)]),
    (c"strtod", &[(0, AtLeastOne, Read)]),
    (c"fputs", &[(0, AtLeastOne, Read)]),
];

/// The rule of the function at `function`, if it has one.
fn rule_of(function: usize) -> Option<&'static [Use]> {
    // Looking up takes ld.so's lock: nobody may wait for whoever does.
    static BY_ADDRESS: OnceBox<Vec<(usize, &'static [Use])>> = OnceBox::new();
    let by_address = BY_ADDRESS.get_or_init(|| {
        let _errno = KeptErrno::keep();
        let _ours = OurOwnWork::begin();
        let found = RULES.iter().map(|&(name, uses)| (address_of(name), uses));
        let mut found: Vec<_> = found.filter(|&(address, _)| address != 0).collect();
        found.sort_unstable_by_key(|&(address, _)| address);
        Box::new(found)
    });
    let place = by_address
        .binary_search_by_key(&function, |&(address, _)| address)
        .ok()?;
    by_address.get(place).map(|&(_, uses)| uses)
}

/// Where a function of the C library is; zero when there is none of this name.
fn address_of(name: &CStr) -> usize {
    // SAFETY: a name that ends; our own object's slots are never rewritten, so this is the real `dlsym`.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.addr()
}

/// Looks at what a function of the C library that Python is about to call does with its arguments.
pub(super) fn look_at_call(function: usize, interface: NonNull<CallInterface>, places: usize) {
    let Some(uses) = rule_of(function) else {
        return;
    };
    let arguments = Arguments::of(interface, places);
    for &(pointer, length, access) in uses {
        let byte_count = match length {
            AtLeastOne => Some(1),
            Argument(index) => arguments.number(index),
        };
        if let (Some(start), Some(byte_count)) = (arguments.number(pointer), byte_count) {
            look_at_span(start, byte_count, access, || EventPlace::UNKNOWN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_one_rule_and_is_found_by_its_address() {
        let mut names: Vec<&CStr> = RULES.iter().map(|&(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len(), "a name stands twice");
        for (name, uses) in RULES {
            assert!(!uses.is_empty());
            let rule = rule_of(address_of(name)).expect("glibc has them all");
            // `memcpy` and `memmove` may be one function, which then has the same rule twice.
            assert_eq!(format!("{rule:?}"), format!("{uses:?}"), "{name:?}");
        }
        assert!(rule_of(0).is_none() && rule_of(1).is_none());
    }
}
