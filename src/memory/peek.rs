//! Reading memory that may vanish: the kernel copies it, and says so when it is gone.

#![expect(unsafe_code, reason = "process_vm_readv is a foreign call")]

use super::Address;
use super::pages::PAGE;
use super::refusal::{Request, is_refused};

/// What came of the question for some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// All were copied.
    Copied,
    /// Some of them cannot be read.
    Unreadable,
    /// The kernel did not look: a seccomp filter forbids it, or memory was short. Proves nothing.
    Refused,
}

/// Copies the bytes at `from` into `into`; `false` when not all of them are readable, or when the
/// kernel refuses the question.
#[must_use]
pub fn peek(from: Address, into: &mut [u8]) -> bool {
    ask(from, into) == Answer::Copied
}

/// Copies the bytes at `from` into `into`, and tells why when it cannot.
#[must_use]
pub fn ask(from: Address, into: &mut [u8]) -> Answer {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(from.get()),
        iov_len: into.len(),
    };
    if is_refused(Request::Peek) {
        return Answer::Refused;
    }
    // SAFETY: takes no argument and cannot fail.
    let pid = unsafe { libc::getpid() };
    // SAFETY: `local` covers exactly `into`, which this call alone may write; `remote` is only
    // looked at by the kernel, which answers EFAULT for anything unreadable.
    let copied =
        unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(copied) {
        Ok(count) if count == into.len() => Answer::Copied,
        // The rest lies on a page that is not there.
        Ok(_) => Answer::Unreadable,
        Err(_) => match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EFAULT) => Answer::Unreadable,
            _ => Answer::Refused,
        },
    }
}

/// The word at `place`; `None` where it cannot be read.
#[must_use]
pub fn word_at(place: usize) -> Option<usize> {
    let mut word = [0; size_of::<usize>()];
    peek(Address::new(place), &mut word).then(|| usize::from_ne_bytes(word))
}

/// The whole words of copied bytes.
pub fn words(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    bytes
        .chunks_exact(size_of::<usize>())
        .filter_map(|word| word.try_into().ok())
        .map(usize::from_ne_bytes)
}

/// Bytes that [`Ahead`] copies at a time.
const AHEAD_BYTES: usize = 64 << 10;

/// Words for a reader who goes upwards through memory: what comes next has mostly been copied.
#[derive(Debug)]
pub struct Ahead {
    /// The copied bytes begin here.
    start: usize,
    bytes: Vec<u8>,
    /// Where the memory ends.
    end: usize,
}

impl Ahead {
    /// A reader of memory that ends at `end`.
    #[must_use]
    pub fn until(end: usize) -> Self {
        Self {
            start: end,
            bytes: Vec::new(),
            end,
        }
    }

    /// The two words at `place`; `None` where there are none to be read.
    pub fn pair(&mut self, place: usize) -> Option<[usize; 2]> {
        const PAIR: usize = 2 * size_of::<usize>();
        let copied = place.checked_sub(self.start);
        // Nobody may touch what follows, perhaps: then the rest of the page will do.
        let page_rest = (PAGE - place % PAGE).max(PAIR);
        if copied.is_none_or(|offset| offset + PAIR > self.bytes.len())
            && !self.copy(place, AHEAD_BYTES)
            && !self.copy(place, page_rest)
        {
            return None;
        }
        let offset = place - self.start;
        let mut pair = words(self.bytes.get(offset..offset + PAIR)?);
        Some([pair.next()?, pair.next()?])
    }

    /// Copies what lies at `place`; `false`, and nothing is copied, where that cannot be read.
    fn copy(&mut self, place: usize, byte_max: usize) -> bool {
        let Some(rest) = self.end.checked_sub(place) else {
            return false;
        };
        self.start = place;
        self.bytes.resize(rest.min(byte_max), 0);
        let is_copied = peek(Address::new(place), &mut self.bytes);
        if !is_copied {
            self.bytes.clear();
        }
        is_copied
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::memory::pages;

    #[test]
    fn readable_bytes_are_copied_and_others_refused() {
        let source = *b"twelve bytes";
        let mut copy = [0; 12];
        assert!(peek(Address::of(source.as_ptr()), &mut copy));
        assert_eq!(copy, source);
        assert_eq!(ask(Address::new(16), &mut copy), Answer::Unreadable);
        assert!(!peek(Address::new(16), &mut copy));
        assert!(!peek(Address::new(usize::MAX - 4), &mut copy));
        let word = 0x1234_usize;
        assert_eq!(word_at((&raw const word).addr()), Some(word));
        assert_eq!(word_at(16), None);
    }

    #[test]
    fn a_reader_who_goes_upwards_gets_every_pair_and_none_past_the_end() {
        let memory: Vec<usize> = (0..AHEAD_BYTES / 4).collect();
        let range = memory.as_ptr_range();
        let (start, end) = (range.start.addr(), range.end.addr());
        let mut ahead = Ahead::until(end);
        for index in (0..memory.len() - 1).chain([7, 2]) {
            assert_eq!(ahead.pair(start + index * 8), Some([index, index + 1]));
        }
        assert_eq!(ahead.pair(end - 8), None);
        assert_eq!(ahead.pair(end + 8), None);
        assert_eq!(Ahead::until(4_096).pair(16), None);
    }

    #[test]
    fn a_reader_gets_what_lies_in_front_of_memory_that_nobody_may_touch() {
        let pages = pages::set_aside(2 * PAGE).expect("address space");
        // SAFETY: both pages are this test's.
        assert!(unsafe { pages::open(pages, PAGE) });
        let start = pages.addr().get();
        let mut ahead = Ahead::until(start + 2 * PAGE);
        assert_eq!(ahead.pair(start), Some([0, 0]));
        assert_eq!(ahead.pair(start + PAGE - 16), Some([0, 0]));
        assert_eq!(ahead.pair(start + PAGE - 8), None);
        assert_eq!(ahead.pair(start + PAGE), None);
        // SAFETY: as above.
        assert!(unsafe { pages::unmap(pages, 2 * PAGE) });
    }
}
