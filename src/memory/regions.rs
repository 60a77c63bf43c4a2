//! What kind of memory an address lies in, asked of the kernel and the loader.
//!
//! For error paths only: it reads `/proc/self/maps`, through our own heap.

#![expect(unsafe_code, reason = "dl_iterate_phdr is a foreign call")]

use super::Address;
use super::loaded_list::Reading;
use super::refusal::{Request, is_refused};
use std::ffi::{c_int, c_void};

/// What an address lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Region {
    /// The calling thread's stack, or the main thread's.
    Stack,
    /// Code or data of a loaded image.
    Image,
    /// Other mapped memory.
    Mapped,
    /// Nothing is mapped there.
    Unmapped,
}

/// One line of `/proc/self/maps`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mapping<'a> {
    start: usize,
    end: usize,
    name: &'a str,
}

/// Finds out what `address` lies in. When the list of mappings cannot be read, only images and
/// the neighbourhood of the current frame are recognised; the rest is called mapped.
#[must_use]
pub fn region_of(address: Address) -> Region {
    if is_in_image(address) {
        return Region::Image;
    }
    let here = Address::of(&raw const address);
    match std::fs::read_to_string("/proc/self/maps") {
        _ if is_refused(Request::ReadMappings) => Region::Mapped,
        Ok(maps) => judge(&maps, address, here),
        Err(_) => Region::Mapped,
    }
}

/// The judgement over the text of the list of mappings; `here` lies on the current stack.
fn judge(maps: &str, address: Address, here: Address) -> Region {
    let holds = |mapping: &Mapping<'_>, address: Address| {
        (mapping.start..mapping.end).contains(&address.get())
    };
    let Some(mapping) = maps
        .lines()
        .filter_map(parse)
        .find(|mapping| holds(mapping, address))
    else {
        return Region::Unmapped;
    };
    if mapping.name.starts_with("[stack") || holds(&mapping, here) {
        Region::Stack
    } else if mapping.name.starts_with('/') {
        Region::Image
    } else {
        Region::Mapped
    }
}

fn parse(line: &str) -> Option<Mapping<'_>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let name = rest.splitn(5, ' ').nth(4).unwrap_or_default().trim_start();
    Some(Mapping {
        start: number(start)?,
        end: number(end)?,
        name,
    })
}

/// Whether a loadable segment of a loaded image covers the address: this finds zero-initialised
/// data too, whose mapping has no name.
#[must_use]
pub fn is_in_image(address: Address) -> bool {
    let mut question = (address, false);
    let data = (&raw mut question).cast::<c_void>();
    let _reading = Reading::begin();
    // SAFETY: the callback gets `data` back unchanged and only during the call, while `question`
    // is alive and not otherwise used.
    unsafe { libc::dl_iterate_phdr(Some(ask_image), data) };
    question.1
}

unsafe extern "C" fn ask_image(
    image: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut c_void,
) -> c_int {
    let question = data.cast::<(Address, bool)>();
    // SAFETY: `is_in_image` passed a pointer to its own, live tuple.
    let address = unsafe { (*question).0 };
    // SAFETY: the loader passes a description that is valid during the callback.
    let image = unsafe { &*image };
    if image.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader keeps `dlpi_phnum` program headers at `dlpi_phdr` while the image is
    // loaded, and it cannot be unloaded during the callback.
    let headers =
        unsafe { std::slice::from_raw_parts(image.dlpi_phdr, usize::from(image.dlpi_phnum)) };
    let covers = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD)
        .any(|header| {
            let start = image.dlpi_addr.wrapping_add(header.p_vaddr);
            (address.get() as u64).wrapping_sub(start) < header.p_memsz
        });
    if covers {
        // SAFETY: as above; the shared reference to the description does not overlap the tuple.
        unsafe { (*question).1 = true };
    }
    c_int::from(covers)
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    const MAPS: &str = "\
00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/program
7f0000000000-7f0000021000 rw-p 00000000 00:00 0
7f1000000000-7f1000800000 rw-p 00000000 00:00 0
7ffc1e0a0000-7ffc1e0c1000 rw-p 00000000 00:00 0                          [stack]
";

    fn judged(address: usize) -> Region {
        judge(MAPS, Address::new(address), Address::new(0x7f10_0000_4000))
    }

    #[test]
    fn invented_addresses_are_judged_by_their_mapping() {
        assert_eq!(judged(0x40_1000), Region::Image);
        assert_eq!(judged(0x7f00_0000_0010), Region::Mapped);
        assert_eq!(
            judged(0x7f10_0000_0010),
            Region::Stack,
            "the mapping this thread runs on"
        );
        assert_eq!(judged(0x7ffc_1e0a_0000), Region::Stack);
        assert_eq!(
            judged(0x7ffc_1e0c_1000),
            Region::Unmapped,
            "one past the end"
        );
        assert_eq!(judged(0x10), Region::Unmapped);
    }

    #[test]
    fn real_addresses_are_recognised() {
        static ZEROED: [u8; 64] = [0; 64];
        let local = 0_u8;
        let boxed = Box::new(0_u8);
        assert_eq!(region_of(Address::of(&raw const local)), Region::Stack);
        assert_eq!(region_of(Address::of(ZEROED.as_ptr())), Region::Image);
        assert_eq!(region_of(Address::of(&raw const *boxed)), Region::Mapped);
        assert_eq!(region_of(Address::new(8)), Region::Unmapped);
        assert_eq!(region_of(Address::new(usize::MAX)), Region::Unmapped);
    }
}
