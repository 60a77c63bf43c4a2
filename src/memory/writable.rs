//! The memory a program can keep a pointer in: the data of loaded images, and every other writable
//! mapping.
//!
//! For questions about the whole process, not for events: it walks the loader's list and reads
//! `/proc/self`, through our own heap.

#![expect(
    unsafe_code,
    reason = "dl_iterate_phdr is a foreign call with a callback"
)]

use super::loaded_list::Reading;
use super::pages::PAGE;
use std::ffi::{c_int, c_void};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes of one entry of `/proc/self/pagemap`, and the bits that say that a page has content.
const ENTRY_BYTES: usize = size_of::<u64>();
const PRESENT_OR_SWAPPED: u64 = 0b11 << 62;
/// Pages asked about at a time.
const PAGE_COUNT_MAX: usize = 128;

/// The writable data of loaded images.
#[derive(Debug, Default)]
pub struct ImageData {
    /// Of every image but this library, and what belongs to it for the calling thread (its
    /// thread-local variables).
    pub others: Vec<Range<usize>>,
    /// Of this library: what we keep there is no reference of the program's.
    pub ours: Vec<Range<usize>>,
}

/// Finds the writable data of loaded images.
#[must_use]
pub fn image_data() -> ImageData {
    let mut found = ImageData::default();
    let _reading = Reading::begin();
    // SAFETY: the callback gets a pointer to a structure that lives until the call returns and is not
    // otherwise used meanwhile.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut found).cast()) };
    found
}

unsafe extern "C" fn collect(
    image: *mut libc::dl_phdr_info,
    _size: usize,
    found: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a description that is valid during the callback.
    let image = unsafe { &*image };
    // SAFETY: `image_data` passed a pointer to this type and waits for our return.
    let found = unsafe { &mut *found.cast::<ImageData>() };
    if image.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader keeps `dlpi_phnum` program headers there while the image is loaded, and it
    // cannot be unloaded during the callback.
    let headers =
        unsafe { std::slice::from_raw_parts(image.dlpi_phdr, usize::from(image.dlpi_phnum)) };
    let extent = |header: &libc::Elf64_Phdr, start: u64| {
        let start = usize::try_from(start).ok()?;
        let length = usize::try_from(header.p_memsz).ok()?;
        Some(start..start.checked_add(length)?)
    };
    let segment = |header: &libc::Elf64_Phdr| {
        let start = image.dlpi_addr.wrapping_add(header.p_vaddr);
        extent(header, start).filter(|_| header.p_type == libc::PT_LOAD)
    };
    let own = collect as *const () as usize;
    let is_ours = headers
        .iter()
        .filter_map(segment)
        .any(|range| range.contains(&own));
    let found = if is_ours {
        &mut found.ours
    } else {
        &mut found.others
    };
    let is_writable = |header: &&libc::Elf64_Phdr| header.p_flags & libc::PF_W != 0;
    found.extend(headers.iter().filter(is_writable).filter_map(segment));
    let locals = image.dlpi_tls_data.addr() as u64;
    let of_thread = headers
        .iter()
        .find(|header| locals != 0 && header.p_type == libc::PT_TLS);
    found.extend(of_thread.and_then(|header| extent(header, locals)));
    0
}

/// Every private mapping that may be written to; `None` when the kernel's list cannot be read.
#[must_use]
pub fn mappings() -> Option<Vec<Range<usize>>> {
    let list = std::fs::read_to_string("/proc/self/maps").ok()?;
    Some(list.lines().filter_map(writable_mapping).collect())
}

fn writable_mapping(line: &str) -> Option<Range<usize>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let is_private_and_writable = rest.starts_with("rw") && rest.as_bytes().get(3) == Some(&b'p');
    let number = |text| usize::from_str_radix(text, 16).ok();
    is_private_and_writable
        .then(|| Some(number(start)?..number(end)?))
        .flatten()
}

/// Which pages have content: address space that was only set aside need not be looked at.
#[derive(Debug)]
pub struct TouchedPages(Option<File>);

impl TouchedPages {
    /// Opens the kernel's table; without it every page counts as touched.
    #[must_use]
    pub fn open() -> Self {
        Self(File::open("/proc/self/pagemap").ok())
    }

    /// Whether any page of a range has content.
    #[must_use]
    pub fn is_any_in(&self, range: &Range<usize>) -> bool {
        let Some(file) = &self.0 else {
            return true;
        };
        let pages = range.start / PAGE..range.end.div_ceil(PAGE);
        let mut entries = [0; PAGE_COUNT_MAX * ENTRY_BYTES];
        let Some(entries) = entries.get_mut(..pages.len() * ENTRY_BYTES) else {
            return true;
        };
        if file
            .read_exact_at(entries, (pages.start * ENTRY_BYTES) as u64)
            .is_err()
        {
            return true;
        }
        entries
            .chunks_exact(ENTRY_BYTES)
            .filter_map(|entry| entry.try_into().ok())
            .any(|entry| u64::from_ne_bytes(entry) & PRESENT_OR_SWAPPED != 0)
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::memory::{Address, pages};

    unsafe extern "C" {
        /// In the data of the C library.
        static environ: *const *const libc::c_char;
    }

    #[test]
    fn writable_private_mappings_are_read_from_the_list() {
        let anonymous = "7f0000000000-7f0000021000 rw-p 00000000 00:00 0";
        assert_eq!(
            writable_mapping(anonymous),
            Some(0x7f00_0000_0000..0x7f00_0002_1000)
        );
        for other in [
            "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/program",
            "7f0000000000-7f0000021000 rw-s 00000000 00:01 5 /dev/shm/shared",
            "nonsense",
            "",
        ] {
            assert_eq!(writable_mapping(other), None, "{other}");
        }
    }

    #[test]
    fn the_stack_is_mapped_and_our_own_data_is_left_out() {
        static OWN: [std::sync::atomic::AtomicU8; 8] =
            [const { std::sync::atomic::AtomicU8::new(1) }; 8];
        let local = 0_u8;
        let on_stack = Address::of(&raw const local).get();
        let holds =
            |ranges: &[Range<usize>], address| ranges.iter().any(|range| range.contains(&address));
        assert!(holds(&mappings().expect("readable here"), on_stack));
        let images = image_data();
        assert!(!holds(&images.others, OWN.as_ptr().addr()));
        assert!(holds(&images.ours, OWN.as_ptr().addr()));
        assert!(holds(&images.others, (&raw const environ).addr()));
    }

    #[test]
    fn pages_that_nobody_touched_have_no_content() {
        let pages = pages::map(16 * PAGE).expect("address space");
        let start = pages.addr().get();
        let touched = TouchedPages::open();
        assert!(!touched.is_any_in(&(start..start + 16 * PAGE)));
        // SAFETY: mapped above, readable and writable.
        unsafe { pages.as_ptr().write_volatile(1) };
        assert!(touched.is_any_in(&(start..start + 16 * PAGE)));
        assert!(!touched.is_any_in(&(start + PAGE..start + 2 * PAGE)));
        // SAFETY: mapped above, and used no more.
        assert!(unsafe { pages::unmap(pages, 16 * PAGE) });
    }
}
