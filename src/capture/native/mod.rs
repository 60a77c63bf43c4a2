//! Native code: the frames of a stack, and which module and function an address belongs to.
//!
//! Owns unwinding, the modules that code was seen in, and the names that reports give to places in
//! them.
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
mod file_symbols;
pub(super) mod load_generation;
mod loaded;
mod modules;
mod reads;
mod registers;
mod rule;
mod rule_cache;
mod stack_window;
mod symbolize;
mod symbols;
mod unwind;
mod unwind_table;
mod walk_cache;

pub use self::file_symbols::FileSymbols;
pub(super) use self::modules::{ModuleId, ModuleTable};
pub use self::registers::Registers;
pub(super) use self::symbolize::Symbolizer;
pub use self::symbols::SourcePlace;
pub(super) use self::unwind::Unwinder;
pub use self::unwind::{NATIVE_FRAME_COUNT_MAX, NativeDepth};
pub(super) use self::walk_cache::Rest;

use self::loaded::Loaded;
use super::site_table::{Site, SiteId, SiteTable};
use crate::memory::{Address, FrameAddress};
use std::ffi::{CStr, c_char};

/// The rule that an object mapped at `image` gives for one of its places, in words: for `fuzz`.
#[cfg(fuzzing)]
#[must_use]
pub fn unwind_rule(image: &[u8], table_offset: usize, place_offset: usize) -> String {
    let loaded = Loaded::in_bytes(image, table_offset);
    let place = loaded.start.wrapping_add(place_offset);
    format!("{:?}", unwind_table::rule_at(&loaded, place))
}

/// Stores the place of the code that returns to `caller`; `is_internal` says that reports leave the
/// frame out. Cold: reads the object's notes, once for each return address.
#[cold]
pub(super) fn intern(sites: &SiteTable, caller: FrameAddress, is_internal: bool) -> SiteId {
    // The byte before the return address belongs to the call; the return address itself may
    // belong to the next function.
    let loaded = Loaded::containing(Address::new(caller.call_address()));
    let address = caller.return_address() as u64;
    let Some(loaded) = loaded else {
        return sites.intern(Site::Caller {
            module: ModuleId::NONE,
            offset: address,
            is_internal,
        });
    };
    sites.intern(Site::Caller {
        module: sites.modules().intern(sites.texts(), &loaded),
        offset: address.wrapping_sub(loaded.bias as u64),
        is_internal,
    })
}

/// Looks up and stores the name of the function that begins at `function`. Cold, as [`intern`].
#[cold]
pub(super) fn intern_foreign(sites: &SiteTable, function: Address) -> SiteId {
    let texts = sites.texts();
    let (library, name) = with_symbol(function, |library, name| {
        (texts.intern(library), texts.intern(name))
    });
    sites.intern(Site::Foreign { library, name })
}

pub(super) use loaded::learn;

/// Whether a place lies in no loaded object, if that can be told without the loader's lock.
#[must_use]
pub fn is_outside_objects(place: Address) -> bool {
    loaded::Loaded::is_certainly_none_at(place)
}

/// The path of the loaded object whose segments contain a place.
#[must_use]
pub fn library_at(place: Address) -> Option<String> {
    let loaded = loaded::Loaded::containing(place)?;
    let name = match loaded.name() {
        // The loader has no name for the program itself.
        b"" => std::env::current_exe()
            .ok()?
            .into_os_string()
            .into_encoded_bytes(),
        name => name.to_vec(),
    };
    Some(String::from_utf8_lossy(&name).into_owned())
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

    #[inline(never)]
    fn with_place(place: usize) -> usize {
        std::hint::black_box(place) + 1
    }

    fn frames_of(sites: &SiteTable, site: SiteId) -> Vec<Frame> {
        let Some(Site::Caller { module, offset, .. }) = sites.site(site) else {
            return Vec::new();
        };
        Symbolizer::default().frames(sites, module, offset)
    }

    #[test]
    fn a_caller_in_a_library_is_named() {
        let sites = SiteTable::new().expect("pages");
        let inside_malloc = (libc::malloc as *const ()).addr() + 1;
        let site = intern(
            &sites,
            FrameAddress::from_return_address(inside_malloc),
            false,
        );
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
        let inside = (with_place as *const ()).addr() + 2;
        let site = intern(&sites, FrameAddress::from_return_address(inside), false);
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
        assert!(
            function.ends_with("native::tests::with_place"),
            "{function}"
        );
        assert!(file.ends_with("src/capture/native/mod.rs"), "{file}");
        assert!(*line > 0);
    }

    #[test]
    fn a_caller_in_no_object_keeps_its_address() {
        let sites = SiteTable::new().expect("pages");
        let site = intern(&sites, FrameAddress::from_return_address(0x10), false);
        let expected = Frame::Native {
            library: String::new(),
            function: String::new(),
            file: String::new(),
            line: 0,
            address: 0x10,
            build_id: String::new(),
            offset: 0x10,
            is_internal: false,
            is_inlined: false,
        };
        assert_eq!(frames_of(&sites, site), [expected]);
    }
}
