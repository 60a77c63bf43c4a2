//! The dynamic linker's list of loaded objects, and how to hold it still.
//!
//! `dl_iterate_phdr` holds the lock without which nothing is added to the list and nothing in it is
//! unmapped. It does not keep a `dlopen` on another thread from relocating an object that is in the
//! list already: `settled.rs` is about those. Inside the lock `dlopen`, `dlsym` and `dladdr` must
//! not be called: they take another lock of the linker first, and a `dlopen` on another thread
//! takes the two in the opposite order.

#![expect(
    unsafe_code,
    reason = "dl_iterate_phdr is a foreign call with a callback"
)]

use std::ffi::{c_int, c_void};

use super::image::Image;
use crate::capture;
use crate::memory::loaded_list::Reading;
use crate::memory::{Address, regions};

/// How many objects were ever added to and removed from the list.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct ListAge {
    /// Objects ever added.
    pub(super) added_count: u64,
    /// Objects ever removed.
    pub(super) removed_count: u64,
}

/// The age of the list. Takes the linker's lock for a moment.
pub(super) fn list_age() -> ListAge {
    let mut age = ListAge::default();
    let _reading = Reading::begin();
    // SAFETY: the callback has the right signature and gets a pointer to a place for its answer
    // that lives until the call returns.
    unsafe { libc::dl_iterate_phdr(Some(read_age), (&raw mut age).cast()) };
    age
}

/// Reads the age from the first object shown and stops.
unsafe extern "C" fn read_age(info: *mut libc::dl_phdr_info, _: usize, out: *mut c_void) -> c_int {
    // SAFETY: dl_iterate_phdr passes a valid description that nobody else changes during the call.
    let info = unsafe { &*info };
    let age = ListAge {
        added_count: info.dlpi_adds,
        removed_count: info.dlpi_subs,
    };
    // SAFETY: `list_age` passed a pointer to a place of this type.
    unsafe { out.cast::<ListAge>().write(age) };
    1
}

/// Work to be done while the list is locked.
struct Work<'work> {
    run: &'work mut dyn FnMut(&[Image<'_>], ListAge),
}

/// Runs `work` once with every loaded object, the list locked meanwhile, so that the objects stay
/// where they are. The caller keeps forks waiting (`memory::loaded_list`).
pub(super) fn with_images(work: &mut dyn FnMut(&[Image<'_>], ListAge)) {
    let mut work = Work { run: work };
    // SAFETY: as in `list_age`.
    unsafe { libc::dl_iterate_phdr(Some(run_locked), (&raw mut work).cast()) };
}

/// Called for the first object with the list locked; the lock is recursive, so the whole list is
/// read from inside.
unsafe extern "C" fn run_locked(
    info: *mut libc::dl_phdr_info,
    _: usize,
    work: *mut c_void,
) -> c_int {
    let mut age = ListAge::default();
    // SAFETY: the duties of `read_age` are those of this callback.
    unsafe { read_age(info, 0, (&raw mut age).cast()) };
    let mut images: Vec<Image<'_>> = Vec::new();
    // SAFETY: as in `list_age`.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut images).cast()) };
    // SAFETY: `with_images` passed a pointer to this type, and it waits for our return.
    let work = unsafe { &mut *work.cast::<Work<'_>>() };
    (work.run)(&images, age);
    1
}

unsafe extern "C" fn collect(info: *mut libc::dl_phdr_info, _: usize, out: *mut c_void) -> c_int {
    // SAFETY: as in `read_age`.
    let info = unsafe { &*info };
    // SAFETY: `run_locked` passed a pointer to this type and looks at it after our return only.
    let images = unsafe { &mut *out.cast::<Vec<Image<'_>>>() };
    // SAFETY: dl_iterate_phdr passed `info`, and `run_locked`, whose callback encloses this one,
    // drops the images before it returns.
    if let Some(image) = unsafe { Image::from_listing(info) } {
        images.push(image);
    }
    0
}

/// Whether `address` lies in a segment of a loaded object, without reading more of the objects; and
/// without the linker's lock, where that is possible, for nearly every address that lies in none.
pub(super) fn is_in_image(address: usize) -> bool {
    if capture::is_outside_objects(Address::new(address)) {
        return false;
    }
    regions::is_in_image(Address::new(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_is_listed_and_defines_malloc() {
        let mut found = false;
        with_images(&mut |images, age| {
            assert!(age.added_count >= images.len() as u64);
            let libc = images
                .iter()
                .find(|image| image.file_name().starts_with(b"libc.so"));
            let libc = libc.expect("linked dynamically");
            let malloc = libc.definition(b"malloc").expect("libc has it");
            assert!(libc.has_code_at(malloc));
            assert_eq!(malloc, libc::malloc as *const () as usize);
            assert_eq!(libc.definition(b"no such function"), None);
            assert!(libc.defines_prefix(b"posix_memal"));
            assert!(!libc.defines_prefix(b"PyInit_"));
            assert_eq!(libc.soname(), Some(&b"libc.so.6"[..]));
            assert!(libc.relocations().count() > 10);
            found = true;
        });
        assert!(found);
    }

    #[test]
    fn the_main_program_needs_the_c_library() {
        with_images(&mut |images, _| {
            let program = images.first().expect("at least the program");
            assert!(program.needed().contains(&&b"libc.so.6"[..]));
            assert!(!program.relro_pages(4_096).contains(0));
        });
    }
}
