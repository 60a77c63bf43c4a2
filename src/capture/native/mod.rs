//! Native code: which module and function an address belongs to.
//!
//! Owns the modules that code was seen in, and the names that reports give to places in them.
//! Promises: a place is stored as module and offset, never by a name that may be wrong later; files
//! are read only for reports, and never one that is not the file that was loaded.
//!
//! Must never: read files, take the loader's lock or allocate when a place has been seen before.

#![expect(
    unsafe_code,
    reason = "dladdr is a foreign call that answers with C strings"
)]

mod debug_file;
mod demangle;
mod loaded;
mod modules;
mod symbolize;
mod symbols;

pub(super) use self::modules::{ModuleId, ModuleTable};
pub(super) use self::symbolize::Symbolizer;

use self::loaded::Loaded;
use super::site_table::{Site, SiteId, SiteTable};
use crate::memory::{Address, FrameAddress};
use std::ffi::{CStr, c_char};

/// Stores the place of a caller. Cold: reads the object's notes, once for each return address.
#[cold]
pub(super) fn intern(sites: &SiteTable, caller: FrameAddress) -> SiteId {
    // The byte before the return address belongs to the call; the return address itself may
    // belong to the next function.
    let loaded = Loaded::containing(Address::new(caller.call_address()));
    let address = caller.return_address() as u64;
    let Some(loaded) = loaded else {
        let module = ModuleId::NONE;
        return sites.intern(Site::Caller {
            module,
            offset: address,
        });
    };
    if is_gateway(loaded.name()) {
        return SiteId::NONE;
    }
    sites.intern(Site::Caller {
        module: sites.modules().intern(sites.texts(), &loaded),
        offset: address.wrapping_sub(loaded.bias as u64),
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
    use crate::capture::Frame;

    fn frames_of(sites: &SiteTable, site: SiteId) -> Vec<Frame> {
        let Some(Site::Caller { module, offset }) = sites.site(site) else {
            return Vec::new();
        };
        Symbolizer::default().frames(sites, module, offset)
    }

    #[test]
    fn a_caller_in_a_library_is_named() {
        let sites = SiteTable::new().expect("pages");
        let inside_malloc = (libc::malloc as *const ()).addr() + 1;
        let site = intern(&sites, FrameAddress::from_return_address(inside_malloc));
        let frames = frames_of(&sites, site);
        let Some(Frame::Native {
            library,
            function,
            address,
            ..
        }) = frames.last()
        else {
            panic!("not a native frame");
        };
        assert!(library.contains("libc"), "{library}");
        assert!(function.contains("malloc"), "{function}");
        assert_eq!(usize::try_from(*address).expect("64 bits"), inside_malloc);
    }

    #[test]
    fn our_own_code_has_functions_files_and_lines() {
        let sites = SiteTable::new().expect("pages");
        let inside = (is_gateway as *const ()).addr() + 2;
        let site = intern(&sites, FrameAddress::from_return_address(inside));
        let frames = frames_of(&sites, site);
        let Some(Frame::Native {
            function,
            file,
            line,
            ..
        }) = frames.last()
        else {
            panic!("not a native frame");
        };
        assert!(function.ends_with("native::is_gateway"), "{function}");
        assert!(file.ends_with("src/capture/native/mod.rs"), "{file}");
        assert!(*line > 0);
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
        let expected = Frame::Native {
            library: String::new(),
            function: String::new(),
            file: String::new(),
            line: 0,
            address: 0x10,
        };
        assert_eq!(frames_of(&sites, site), [expected]);
    }
}
