//! What the kernel says of this process's memory: `/proc/self/maps`, read at one moment, or asked about
//! one address.
//!
//! The list of a process with 500 libraries takes a millisecond to read, and each library opened later
//! raises a question or two. Linux 6.11 and later answer these by themselves.

#![expect(unsafe_code, reason = "ioctl is a foreign call")]

use std::cell::OnceCell;
use std::fs::File;
use std::os::fd::AsRawFd;

use super::image::Range;
use crate::memory::refusal::{Request, is_refused};

const MAPS: &str = "/proc/self/maps";

/// What may be done with a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Permissions {
    /// It can be read.
    pub(super) read: bool,
    /// It can be written.
    pub(super) write: bool,
    /// It can be executed.
    pub(super) execute: bool,
}

/// One line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    /// The addresses.
    pub(super) range: Range,
    /// What may be done there.
    pub(super) permissions: Permissions,
    /// Whether the list calls it the main thread's stack.
    pub(super) is_main_stack: bool,
}

/// All mappings, by address.
#[derive(Debug, Default)]
pub(super) struct Mappings(Vec<Mapping>);

/// Whether the kernel tells what this process's memory is like. Without that, slots on pages that ld.so
/// closed after relocating cannot be told from those it is still writing, and are left alone.
#[must_use]
pub fn can_read_mappings() -> bool {
    !is_refused(Request::ReadMappings) && File::open(MAPS).is_ok()
}

impl Mappings {
    /// Reads them; `None` without `/proc`.
    pub(super) fn read() -> Option<Self> {
        if is_refused(Request::ReadMappings) {
            return None;
        }
        Some(Self::parse(&std::fs::read(MAPS).ok()?))
    }

    fn parse(text: &[u8]) -> Self {
        Self(
            text.split(|&byte| byte == b'\n')
                .filter_map(parse_line)
                .collect(),
        )
    }

    /// The mapping that `address` lies in.
    pub(super) fn at(&self, address: usize) -> Option<&Mapping> {
        let after = self
            .0
            .partition_point(|mapping| mapping.range.start <= address);
        let mapping = self.0.get(after.checked_sub(1)?)?;
        mapping.range.contains(address).then_some(mapping)
    }

    /// The main thread's stack.
    pub(super) fn main_stack(&self) -> Option<Range> {
        self.0
            .iter()
            .find(|mapping| mapping.is_main_stack)
            .map(|mapping| mapping.range)
    }
}

/// The mappings at addresses that are asked for, each as it is when it is asked for.
#[derive(Debug, Default)]
pub(super) struct MappingsOnDemand {
    file: OnceCell<Option<File>>,
    /// All of them, where the kernel does not tell of one address.
    all: OnceCell<Option<Mappings>>,
}

impl MappingsOnDemand {
    /// Asks for nothing yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The mapping that `address` lies in.
    pub(super) fn at(&self, address: usize) -> Option<Mapping> {
        let open = || {
            let file = (!is_refused(Request::ReadMappings)).then(|| File::open(MAPS));
            file?.ok()
        };
        match ask(self.file.get_or_init(open).as_ref()?, address) {
            Answer::Mapped(mapping) => Some(mapping),
            Answer::Unmapped => None,
            Answer::NotAnswered => {
                let all = self.all.get_or_init(Mappings::read).as_ref()?;
                all.at(address).copied()
            }
        }
    }
}

/// What the kernel says to a question about one address.
#[derive(Debug)]
enum Answer {
    Mapped(Mapping),
    Unmapped,
    /// It knows no such question.
    NotAnswered,
}

/// `struct procmap_query`.
#[derive(Default)]
#[repr(C)]
struct Query {
    byte_count: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    permissions: u64,
    page_byte_count: u64,
    offset: u64,
    inode: u64,
    device: [u32; 2],
    name_byte_count: u32,
    build_id_byte_count: u32,
    name: u64,
    build_id: u64,
}

const READABLE: u64 = 1;
const WRITABLE: u64 = 2;
const EXECUTABLE: u64 = 4;
const QUERY_BYTE_COUNT: usize = size_of::<Query>();
/// `PROCMAP_QUERY`: request 17 of `f`, which reads and writes a [`Query`].
const QUERY: libc::c_ulong = 3 << 30 | (QUERY_BYTE_COUNT as libc::c_ulong) << 16 | 0x66 << 8 | 0x11;
const _: () = assert!(QUERY_BYTE_COUNT == 104);

fn ask(maps: &File, address: usize) -> Answer {
    let mut query = Query {
        byte_count: QUERY_BYTE_COUNT as u64,
        address: address as u64,
        ..Query::default()
    };
    // SAFETY: the kernel reads and writes as many bytes as the query says it has, which are its own; it
    // is told of no place for a name. A kernel that does not know the request touches nothing.
    let status = unsafe { libc::ioctl(maps.as_raw_fd(), QUERY, &raw mut query) };
    if status < 0 {
        let error = std::io::Error::last_os_error().raw_os_error();
        return if error == Some(libc::ENOENT) {
            Answer::Unmapped
        } else {
            Answer::NotAnswered
        };
    }
    let (Ok(start), Ok(end)) = (usize::try_from(query.start), usize::try_from(query.end)) else {
        return Answer::NotAnswered;
    };
    let may = |bit| query.permissions & bit != 0;
    Answer::Mapped(Mapping {
        range: Range { start, end },
        permissions: Permissions {
            read: may(READABLE),
            write: may(WRITABLE),
            execute: may(EXECUTABLE),
        },
        is_main_stack: false,
    })
}

/// `7f10-7f20 r-xp 00000000 08:01 1234    /path`
fn parse_line(line: &[u8]) -> Option<Mapping> {
    let line = std::str::from_utf8(line.get(..line.len().min(128))?)
        .ok()
        .or_else(|| {
            // A path may hold any bytes, and the part before it is all that is needed.
            std::str::from_utf8(line.get(..64)?).ok()
        })?;
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let flags = words.next()?.as_bytes();
    Some(Mapping {
        range: Range {
            start: usize::from_str_radix(start, 16).ok()?,
            end: usize::from_str_radix(end, 16).ok()?,
        },
        permissions: Permissions {
            read: flags.first() == Some(&b'r'),
            write: flags.get(1) == Some(&b'w'),
            execute: flags.get(2) == Some(&b'x'),
        },
        is_main_stack: words.nth(3) == Some("[stack]"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
00400000-0041f000 r--p 00000000 fe:00 1 /usr/bin/python3.11
0041f000-006d2000 r-xp 0001f000 fe:00 1 /usr/bin/python3.11
7ffc0000-7ffe0000 rw-p 00000000 00:00 0                          [stack]
";

    #[test]
    fn an_address_belongs_to_the_mapping_around_it() {
        let mappings = Mappings::parse(TEXT.as_bytes());
        let code = mappings.at(0x0050_0000).expect("in the second line");
        assert!(code.permissions.execute && !code.permissions.write);
        assert!(
            mappings.at(0x006d_2000).is_none(),
            "the end is not part of it"
        );
        assert!(mappings.at(0).is_none());
        let stack = mappings.main_stack().expect("the last line");
        assert_eq!(stack.start, 0x7ffc_0000);
    }

    #[test]
    fn this_process_has_a_stack_and_code() {
        let here = 0_u8;
        let mappings = Mappings::read().expect("Linux");
        let place = mappings
            .at((&raw const here).addr())
            .expect("a thread's stack is mapped");
        assert!(place.permissions.write);
        let code = mappings
            .at(parse_line as *const () as usize)
            .expect("our code is mapped");
        assert!(code.permissions.execute && code.permissions.read);
    }

    #[test]
    fn an_answer_about_one_address_is_what_the_list_says() {
        let here = 0_u8;
        let all = Mappings::read().expect("Linux");
        let maps = File::open(MAPS).expect("Linux");
        let ours = [
            (&raw const here).addr(),
            parse_line as *const () as usize,
            MAPS.as_ptr().addr(),
        ];
        for address in ours {
            let listed = all.at(address).expect("ours");
            let on_demand = MappingsOnDemand::new().at(address).expect("ours");
            // A stack may grow meanwhile.
            assert_eq!(on_demand.range.end, listed.range.end);
            assert_eq!(on_demand.permissions, listed.permissions);
        }
        assert!(MappingsOnDemand::new().at(0).is_none());
        assert!(!matches!(ask(&maps, 0), Answer::Mapped(_)));
        let no_list = File::open("/proc/self/status").expect("Linux");
        assert!(matches!(ask(&no_list, 0), Answer::NotAnswered));
    }
}
