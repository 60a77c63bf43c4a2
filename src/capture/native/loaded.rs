//! Which loaded object contains an address, asked of the loader without its lock.
//!
//! glibc 2.35 and later answer through `_dl_find_object`, made for unwinders: it waits for nobody,
//! so a static constructor that waits for a thread of ours is no deadlock. Older ones answer
//! through `dl_iterate_phdr`, whose lock is never held while code of the program runs.

#![expect(
    unsafe_code,
    reason = "reads what the loader says of the objects it mapped"
)]

use crate::memory::Address;
use crate::memory::loaded_list::Reading;
use crate::memory::peek::peek;
use once_cell::race::OnceNonZeroUsize;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::num::NonZeroUsize;
use std::ops::Range;

/// How an ELF file of 64 bits begins, and the bytes of its header and of each program header.
const MAGIC: &[u8] = b"\x7fELF\x02";
const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const SEGMENT_COUNT_MAX: usize = 64;

/// A loaded object, as it is while code of it runs on the calling thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loaded {
    /// Where its first segment begins.
    pub(super) start: usize,
    /// Where its last segment ends.
    pub(super) end: usize,
    /// What the loader added to the addresses in its file.
    pub(super) bias: usize,
    /// Where its table of unwind rules (`.eh_frame_hdr`) is; zero without one.
    pub(super) unwind_table: usize,
    name: *const c_char,
}

/// The beginning of glibc's `struct link_map`, as `<link.h>` declares it.
#[repr(C)]
struct LinkMap {
    bias: usize,
    name: *const c_char,
}

/// glibc's `struct dl_find_object`, as `<dlfcn.h>` declares it for x86-64 and AArch64.
#[repr(C)]
struct FoundObject {
    flags: u64,
    start: *const c_void,
    end: *const c_void,
    link_map: *const LinkMap,
    unwind_table: *const c_void,
    reserved: [u64; 7],
}

type FindObject = unsafe extern "C" fn(*const c_void, *mut FoundObject) -> c_int;

/// The address of `_dl_find_object`; 1 when this glibc has none.
static FIND_OBJECT: OnceNonZeroUsize = OnceNonZeroUsize::new();
const ABSENT: NonZeroUsize = NonZeroUsize::MIN;

impl Loaded {
    /// The object that contains `place`.
    pub(super) fn containing(place: Address) -> Option<Self> {
        let Some(function) = find_object() else {
            return by_iteration(place);
        };
        let function = std::ptr::with_exposed_provenance::<()>(function.get());
        // SAFETY: the loader gave this address for the function of this name, whose declaration
        // `FindObject` repeats.
        let function = unsafe { std::mem::transmute::<*const (), FindObject>(function) };
        by_function(function, place)
    }

    /// Whether `place` lies in no object, if that can be told without the loader's lock.
    pub(super) fn is_certainly_none_at(place: Address) -> bool {
        find_object().is_some() && Self::containing(place).is_none()
    }

    /// An object whose bytes are `image`, with its table of unwind rules at `table_offset`.
    #[cfg(fuzzing)]
    pub(super) fn in_bytes(image: &[u8], table_offset: usize) -> Self {
        let start = image.as_ptr().expose_provenance();
        Self {
            start,
            end: start + image.len(),
            bias: start,
            unwind_table: start.wrapping_add(table_offset),
            name: std::ptr::null(),
        }
    }

    /// What the loader calls it: a path, or nothing for the program itself.
    pub(super) fn name(&self) -> &[u8] {
        if self.name.is_null() {
            return b"";
        }
        // SAFETY: the name belongs to the loader's entry, which lives as long as the object. The
        // calling thread has a frame in the object, or is about to call it, so it stays.
        unsafe { CStr::from_ptr(self.name) }.to_bytes()
    }

    /// The bytes of `length` at `address`, if they lie in the object.
    pub(super) fn bytes(&self, address: usize, length: usize) -> Option<&[u8]> {
        let end = address.checked_add(length)?;
        if address < self.start || end > self.end {
            return None;
        }
        let first = std::ptr::with_exposed_provenance::<u8>(address);
        // SAFETY: only places that the object's own headers name are asked for: they lie in a
        // loaded segment, and the object stays loaded as for `name`.
        Some(unsafe { std::slice::from_raw_parts(first, length) })
    }
}

impl Loaded {
    /// Whether `address` lies in the object.
    pub(super) fn contains(&self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// The bytes from `address` to the end of the readable segment that contains it.
    pub(super) fn rest_of_segment(&self, address: usize) -> Option<&[u8]> {
        let end = self.program_headers()?.find_map(|header| {
            let number = |place, length| number_at(header, place, length);
            let is_readable = number(4, 4)? & usize::try_from(libc::PF_R).ok()? != 0;
            if number(0, 4)? != usize::try_from(libc::PT_LOAD).ok()? || !is_readable {
                return None;
            }
            let start = self.bias.wrapping_add(number(16, 8)?);
            let end = start.checked_add(number(40, 8)?)?;
            (start..end).contains(&address).then_some(end)
        })?;
        self.bytes(address, end - address)
    }

    /// The program headers, from the beginning of the object: 56 bytes each.
    pub(super) fn program_headers(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let header = self.bytes(self.start, HEADER_BYTES)?;
        if !header.starts_with(MAGIC) {
            return None;
        }
        let first = self.start.checked_add(number_at(header, 32, 8)?)?;
        let count = number_at(header, 56, 2)?.min(SEGMENT_COUNT_MAX);
        Some(
            (0..count)
                .map_while(move |index| self.bytes(first + index * SEGMENT_BYTES, SEGMENT_BYTES)),
        )
    }
}

/// The little-endian number of `length` bytes at `place`.
pub(super) fn number_at(bytes: &[u8], place: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(place..place + length)?;
    let number = bytes
        .iter()
        .rev()
        .fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    usize::try_from(number).ok()
}

/// Looks the loader's function up. At the beginning, and never while an event is looked at: `dlerror`
/// allocates and releases with its own state half changed, which any call of `dlsym` gives back.
pub(in crate::capture) fn learn() {
    FIND_OBJECT.get_or_init(find_function);
}

fn find_object() -> Option<NonZeroUsize> {
    FIND_OBJECT.get().filter(|&function| function != ABSENT)
}

fn find_function() -> NonZeroUsize {
    // SAFETY: the name ends with a zero byte.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
    NonZeroUsize::new(found.expose_provenance()).unwrap_or(ABSENT)
}

fn by_function(function: FindObject, place: Address) -> Option<Loaded> {
    let mut found = FoundObject {
        flags: 0,
        start: std::ptr::null(),
        end: std::ptr::null(),
        link_map: std::ptr::null(),
        unwind_table: std::ptr::null(),
        reserved: [0; 7],
    };
    let place = std::ptr::without_provenance(place.get());
    // SAFETY: the address is compared and never followed, and `found` has the declared layout.
    let status = unsafe { function(place, &raw mut found) };
    if status != 0 || found.link_map.is_null() {
        return None;
    }
    // SAFETY: the entry of a loaded object, which stays as `Loaded::name` says.
    let entry = unsafe { &*found.link_map };
    let part = found.start.expose_provenance()..found.end.expose_provenance();
    let whole = whole_extent(entry.bias, &part).unwrap_or(part);
    Some(Loaded {
        start: whole.start,
        end: whole.end,
        bias: entry.bias,
        unwind_table: found.unwind_table.expose_provenance(),
        name: entry.name,
    })
}

/// Where all of an object lies of which glibc names a part: an object with a gap between its segments, as
/// lld makes them, has an entry for each. `None` when the part begins with the object's header and so is
/// the whole. Read through the kernel: it is a guess that the header is where addresses count from.
fn whole_extent(bias: usize, part: &Range<usize>) -> Option<Range<usize>> {
    let mut header = [0; HEADER_BYTES];
    let is_header = |header: &[u8]| header.starts_with(MAGIC);
    if bias == 0
        || bias >= part.start
        || (peek(Address::new(part.start), &mut header) && is_header(&header))
    {
        return None;
    }
    let readable = peek(Address::new(bias), &mut header);
    if !readable || !is_header(&header) {
        return None;
    }
    let first = bias.checked_add(number_at(&header, 32, 8)?)?;
    let count = number_at(&header, 56, 2)?.min(SEGMENT_COUNT_MAX);
    let mut end = part.end;
    for index in 0..count {
        let mut segment = [0; SEGMENT_BYTES];
        if !peek(Address::new(first + index * SEGMENT_BYTES), &mut segment) {
            return None;
        }
        if number_at(&segment, 0, 4)? == libc::PT_LOAD as usize {
            let size = number_at(&segment, 40, 8)?;
            end = end.max(bias + number_at(&segment, 16, 8)?.checked_add(size)?);
        }
    }
    Some(bias..end)
}

/// A question to `dl_iterate_phdr` and its answer.
struct Search {
    place: usize,
    found: Option<Loaded>,
}

#[cold]
fn by_iteration(place: Address) -> Option<Loaded> {
    let mut search = Search {
        place: place.get(),
        found: None,
    };
    let _reading = Reading::begin();
    // SAFETY: `compare` takes what this passes: the loader's description and our search.
    unsafe { libc::dl_iterate_phdr(Some(compare), (&raw mut search).cast()) };
    search.found
}

/// # Safety
/// * `object` is a description that the loader passes; `search` is a [`Search`] nobody else uses.
unsafe extern "C" fn compare(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    search: *mut c_void,
) -> c_int {
    // SAFETY: the caller's first duty.
    let object = unsafe { &*object };
    // SAFETY: the caller's second duty.
    let search = unsafe { &mut *search.cast::<Search>() };
    let bias = usize::try_from(object.dlpi_addr).unwrap_or(0);
    let count = usize::from(object.dlpi_phnum);
    if object.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader gives the table with its length.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, count) };
    let place_of = |address: u64| bias.wrapping_add(usize::try_from(address).unwrap_or(0));
    let segments = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD);
    let start = segments.clone().map(|it| place_of(it.p_vaddr)).min();
    let end = segments.map(|it| place_of(it.p_vaddr + it.p_memsz)).max();
    let (Some(start), Some(end)) = (start, end) else {
        return 0;
    };
    if !(start..end).contains(&search.place) {
        return 0;
    }
    let table = headers
        .iter()
        .find(|header| header.p_type == libc::PT_GNU_EH_FRAME);
    search.found = Some(Loaded {
        start,
        end,
        bias,
        unwind_table: table.map_or(0, |header| place_of(header.p_vaddr)),
        name: object.dlpi_name,
    });
    1
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn both_ways_give_the_same_answer() {
        let inside = Address::new((libc::malloc as *const ()).addr());
        learn();
        let (one, two) = (Loaded::containing(inside), by_iteration(inside));
        let (one, two) = (one.expect("libc"), two.expect("libc"));
        assert_eq!(one.bias, two.bias);
        assert_eq!(one.name(), two.name());
        assert_eq!(one.unwind_table, two.unwind_table);
        assert!((one.start..one.end).contains(&inside.get()));
    }

    #[test]
    fn an_address_in_no_object_is_in_none() {
        let here = 0_u8;
        assert!(Loaded::containing(Address::of(&raw const here)).is_none());
        assert!(by_iteration(Address::of(&raw const here)).is_none());
        assert!(Loaded::containing(Address::new(0x10)).is_none());
    }
}
