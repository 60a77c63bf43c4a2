//! What the kernel says of this process's memory: `/proc/self/maps`, read at one moment.

use super::image::Range;
use crate::memory::refusal::{Request, is_refused};

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
    /// Whether it is the main thread's stack.
    pub(super) is_main_stack: bool,
}

/// All mappings, by address.
#[derive(Debug, Default)]
pub(super) struct Mappings(Vec<Mapping>);

/// Whether the kernel tells what this process's memory is like. Without that, slots on pages that ld.so
/// closed after relocating cannot be told from those it is still writing, and are left alone.
#[must_use]
pub fn can_read_mappings() -> bool {
    !is_refused(Request::ReadMappings) && std::fs::File::open("/proc/self/maps").is_ok()
}

impl Mappings {
    /// Reads them; `None` without `/proc`.
    pub(super) fn read() -> Option<Self> {
        if is_refused(Request::ReadMappings) {
            return None;
        }
        Some(Self::parse(&std::fs::read("/proc/self/maps").ok()?))
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
}
