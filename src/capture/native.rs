//! The immediate native caller: from a return address to a library and an exported symbol.

#![expect(
    unsafe_code,
    reason = "dladdr is a foreign call that answers with C strings"
)]

use super::site_table::{Site, SiteId, SiteTable};
use crate::memory::{Address, FrameAddress};
use std::ffi::{CStr, c_char};

/// Looks up and stores the place of a caller. Cold: `dladdr` takes the loader's lock and reads
/// symbol tables, so this is done once for each return address.
#[cold]
pub(super) fn intern(sites: &SiteTable, caller: FrameAddress) -> SiteId {
    let texts = sites.texts();
    // The byte before the return address belongs to the call; the return address itself may
    // belong to the next function.
    let known = with_symbol(Address::new(caller.call_address()), |library, name| {
        (!is_gateway(library)).then(|| (texts.intern(library), texts.intern(name)))
    });
    let Some((library, function)) = known else {
        return SiteId::NONE;
    };
    let address = u64::try_from(caller.return_address()).unwrap_or(0);
    sites.intern(Site::Caller {
        library,
        function,
        address,
    })
}

/// Whether a library only carries calls from Python into others: its frames say nothing that the
/// Python frame above does not say better.
fn is_gateway(library: &[u8]) -> bool {
    let name = library
        .rsplit(|&byte| byte == b'/')
        .next()
        .unwrap_or(library);
    GATEWAYS.iter().any(|gateway| name.starts_with(gateway))
}

/// The beginnings of the file names of such libraries.
const GATEWAYS: [&[u8]; 3] = [b"libffi.so", b"_ctypes.", b"_cffi_backend"];

/// Looks up and stores the name of the function that begins at `function`. Cold, as [`intern`].
#[cold]
pub(super) fn intern_foreign(sites: &SiteTable, function: Address) -> SiteId {
    let texts = sites.texts();
    let (library, name) = with_symbol(function, |library, name| {
        (texts.intern(library), texts.intern(name))
    });
    sites.intern(Site::Foreign { library, name })
}

/// Calls `use_names` with the path of the object that contains `place` and the nearest exported
/// symbol before it; either is empty when not known.
fn with_symbol<T>(place: Address, use_names: impl FnOnce(&[u8], &[u8]) -> T) -> T {
    let place = std::ptr::without_provenance(place.get());
    let mut found = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: dladdr compares the address with the ranges of loaded objects and never follows it.
    let is_known = unsafe { libc::dladdr(place, &raw mut found) } != 0;
    if !is_known {
        return use_names(b"", b"");
    }
    // SAFETY: dladdr succeeded, so both are null or strings in the object's own mapping. The
    // object contains code this thread is in or about to call, so it stays loaded meanwhile.
    let library = unsafe { bytes_of(found.dli_fname) };
    // SAFETY: as above.
    let function = unsafe { bytes_of(found.dli_sname) };
    use_names(library, function)
}

/// The bytes of a C string; none for null.
///
/// # Safety
/// * `text` is null or ends with a zero byte.
/// * Nobody changes or unmaps it during `'text`.
unsafe fn bytes_of<'text>(text: *const c_char) -> &'text [u8] {
    if text.is_null() {
        return b"";
    }
    // SAFETY: the caller's first duty; `'text` is the caller's second.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn a_caller_in_a_library_is_named() {
        let sites = SiteTable::new().expect("pages");
        let inside_malloc = (libc::malloc as *const ()).addr() + 1;
        let site = intern(&sites, FrameAddress::from_return_address(inside_malloc));
        let Some(Site::Caller {
            library,
            function,
            address,
        }) = sites.site(site)
        else {
            panic!("not stored as a caller");
        };
        assert!(sites.texts().text(library).contains("libc"));
        assert!(sites.texts().text(function).contains("malloc"));
        assert_eq!(usize::try_from(address).expect("64 bits"), inside_malloc);
    }

    #[test]
    fn the_carriers_of_calls_are_left_out() {
        assert!(is_gateway(b"/lib/x86_64-linux-gnu/libffi.so.8"));
        assert!(is_gateway(b"_ctypes.cpython-314-x86_64-linux-gnu.so"));
        assert!(is_gateway(b"/x/_cffi_backend.abi3.so"));
        assert!(!is_gateway(b"/x/libffibonacci.so"));
        assert!(!is_gateway(b""));
    }

    #[test]
    fn a_caller_in_no_object_keeps_its_address() {
        let sites = SiteTable::new().expect("pages");
        let site = intern(&sites, FrameAddress::from_return_address(0x10));
        let Some(Site::Caller {
            library,
            address: 0x10,
            ..
        }) = sites.site(site)
        else {
            panic!("not stored with its address");
        };
        assert_eq!(sites.texts().text(library), "");
    }
}
