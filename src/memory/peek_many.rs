//! Reading memory that may vanish at many places: few questions to the kernel instead of one for
//! each.
//!
//! A question costs about a microsecond, a further place in the same question a third of that, and
//! a further page under a range that is copied anyway less than that again. So places are asked for in
//! the order of their addresses, neighbours as one range, and many ranges together.

#![expect(unsafe_code, reason = "process_vm_readv is a foreign call")]

use super::Address;
use super::pages::PAGE;
use super::refusal::{Request, is_refused};

/// Ranges in one question: the kernel takes no more (`IOV_MAX`).
const RANGE_COUNT_MAX: usize = if cfg!(test) { 4 } else { 1_024 };
/// Bytes that one question copies.
const BYTE_COUNT_MAX: usize = if cfg!(test) { 4 * PAGE } else { 64 * PAGE };
/// What lies between two places is copied with them when it is at most this. No page is touched that
/// none of the places lies in, so that what nobody asked for makes nothing unreadable.
const GAP_BYTE_MAX: usize = 1_024;
const _: () = assert!(GAP_BYTE_MAX < PAGE);

/// Bytes that somebody asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// Where they begin.
    pub from: Address,
    /// How many; at most [`PAGES_MAX`] pages.
    pub byte_count: usize,
    /// Names who asks.
    pub asker: usize,
}

/// The longest question, in pages.
pub const PAGES_MAX: usize = 4;
const _: () = assert!(PAGES_MAX * PAGE <= BYTE_COUNT_MAX);

impl Question {
    fn end(&self) -> usize {
        self.from.get().saturating_add(self.byte_count)
    }
}

/// Room for the copies of one question to the kernel.
#[derive(Debug)]
pub struct PeekMany {
    ranges: Vec<libc::iovec>,
    /// Where in the copies the bytes of each question begin.
    places: Vec<usize>,
    bytes: Vec<u8>,
}

impl PeekMany {
    /// Room to answer up to `question_count` questions at a time; `None` when memory is short.
    #[must_use]
    pub fn with_room(question_count: usize) -> Option<Self> {
        let mut room = Self {
            ranges: Vec::new(),
            places: Vec::new(),
            bytes: Vec::new(),
        };
        room.ranges.try_reserve_exact(RANGE_COUNT_MAX).ok()?;
        room.places.try_reserve_exact(question_count).ok()?;
        room.bytes.try_reserve_exact(BYTE_COUNT_MAX).ok()?;
        Some(room)
    }

    /// Gives each asker the bytes asked for, or `None` where they were not copied: because they, or
    /// others that were asked for in the same question to the kernel, cannot be read, or because the
    /// kernel refused it. Who must know asks again alone ([`super::peek::ask`]). Sorts the questions.
    pub fn ask(
        &mut self,
        questions: &mut [Question],
        mut answer: impl FnMut(usize, Option<&[u8]>),
    ) {
        questions.sort_unstable_by_key(|question| question.from);
        let mut rest = &*questions;
        while !rest.is_empty() {
            let (asked, later) = rest.split_at(self.gather(rest).max(1));
            let copied = self.copy();
            let copied = self.bytes.get(..copied).unwrap_or_default();
            for (index, question) in asked.iter().enumerate() {
                let place = self.places.get(index);
                let bytes = place.and_then(|&place| copied.get(place..place + question.byte_count));
                answer(question.asker, bytes);
            }
            rest = later;
        }
    }

    /// Makes ranges of the first questions, as many as one question to the kernel can have.
    fn gather(&mut self, questions: &[Question]) -> usize {
        self.ranges.clear();
        self.places.clear();
        // Where the last range ends, and how many bytes lie in all.
        let (mut range_end, mut total) = (0_usize, 0_usize);
        for question in questions {
            let start = question.from.get();
            let joins = !self.ranges.is_empty() && start <= range_end.saturating_add(GAP_BYTE_MAX);
            let begins_at = if joins { range_end } else { start };
            let more = question.end().saturating_sub(begins_at);
            if total + more > BYTE_COUNT_MAX || (!joins && self.ranges.len() == RANGE_COUNT_MAX) {
                break;
            }
            if !joins {
                self.ranges.push(libc::iovec {
                    iov_base: std::ptr::without_provenance_mut(start),
                    iov_len: 0,
                });
                range_end = start;
            }
            self.places
                .push(total.wrapping_add(start).wrapping_sub(range_end));
            if let Some(range) = self.ranges.last_mut() {
                range.iov_len += more;
            }
            range_end += more;
            total += more;
        }
        self.bytes.clear();
        self.bytes.resize(total, 0);
        self.places.len()
    }

    /// Copies the bytes of the ranges, and gives how many the kernel copied.
    fn copy(&mut self) -> usize {
        if is_refused(Request::Peek) {
            return 0;
        }
        let local = libc::iovec {
            iov_base: self.bytes.as_mut_ptr().cast(),
            iov_len: self.bytes.len(),
        };
        // SAFETY: takes no argument and cannot fail.
        let pid = unsafe { libc::getpid() };
        let (ranges, range_count) = (self.ranges.as_ptr(), self.ranges.len() as libc::c_ulong);
        // SAFETY: `local` covers exactly `bytes`, which this call alone may write; the ranges are only
        // looked at by the kernel, which copies up to the first byte that is unreadable.
        let copied =
            unsafe { libc::process_vm_readv(pid, &raw const local, 1, ranges, range_count, 0) };
        usize::try_from(copied).unwrap_or(0)
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::memory::pages;

    /// Asks for bytes at these offsets of `start`, and gives what came in the order of the askers.
    fn ask(start: usize, wanted: &[(usize, usize)]) -> Vec<Option<Vec<u8>>> {
        let question = |(asker, &(offset, byte_count)): (usize, &(usize, usize))| Question {
            from: Address::new(start + offset),
            byte_count,
            asker,
        };
        let mut questions: Vec<_> = wanted.iter().enumerate().map(question).collect();
        let mut answers = vec![Some(b"not answered".to_vec()); wanted.len()];
        let mut many = PeekMany::with_room(wanted.len()).expect("memory");
        many.ask(&mut questions, |asker, bytes| {
            answers[asker] = bytes.map(<[u8]>::to_vec);
        });
        answers
    }

    fn in_source(source: &[u8], wanted: &[(usize, usize)]) -> Vec<Option<Vec<u8>>> {
        wanted
            .iter()
            .map(|&(offset, byte_count)| Some(source[offset..offset + byte_count].to_vec()))
            .collect()
    }

    #[test]
    fn everybody_gets_what_was_asked_for() {
        let source: Vec<u8> = (0..100_000_u32).map(|byte| (byte % 251) as u8).collect();
        let start = source.as_ptr().addr();
        // Side by side, one in another, at the same place, none, with gaps of all kinds, out of order.
        let near = [
            (40, 8),
            (0, 8),
            (8, 16),
            (10, 3),
            (10, 30),
            (10, 30),
            (90, 0),
        ];
        assert_eq!(ask(start, &near), in_source(&source, &near));
        let apart: Vec<_> = (0..90)
            .map(|index| (index * 7_919 % 99_000, index * 10))
            .collect();
        assert_eq!(ask(start, &apart), in_source(&source, &apart));
        let long: Vec<_> = (0..6)
            .map(|index| (index * PAGES_MAX * PAGE, PAGES_MAX * PAGE))
            .collect();
        assert_eq!(ask(start, &long), in_source(&source, &long));
        assert!(ask(start, &[]).is_empty());
    }

    #[test]
    fn what_cannot_be_read_spoils_only_what_comes_behind_it_in_one_question() {
        let pages = pages::set_aside(3 * PAGE).expect("address space");
        let start = pages.addr().get();
        // SAFETY: the middle one of this test's pages.
        let middle = unsafe { pages.add(PAGE) };
        // SAFETY: as above.
        assert!(unsafe { pages::open(middle, PAGE) });
        let are_answered = |wanted: &[(usize, usize)]| -> Vec<bool> {
            ask(start, wanted).iter().map(Option::is_some).collect()
        };
        let end = 2 * PAGE;
        let ends_there = [(end - 16, 16), (end - 8, 16), (PAGE, 8), (end, 8)];
        assert_eq!(are_answered(&ends_there), [true, false, true, false]);
        assert_eq!(are_answered(&[(PAGE, 8), (0, 8)]), [false, false]);
        // These are as many ranges as one question to the kernel can have.
        let mut many = vec![(0, 8), (1_200, 8), (2_400, 8), (3_600, 8)];
        assert_eq!(many.len(), RANGE_COUNT_MAX);
        many.push((end - 2_000, 8));
        let answered = are_answered(&many);
        assert_eq!(answered, [false, false, false, false, true]);
        assert_eq!(ask(16, &[(0, 8), (usize::MAX - 100, 200)]), [None, None]);
        let too_long = [(PAGE, BYTE_COUNT_MAX + 1), (PAGE, 8)];
        assert_eq!(are_answered(&too_long), [false, true]);
        // SAFETY: as above.
        assert!(unsafe { pages::unmap(pages, 3 * PAGE) });
    }

    #[test]
    fn the_page_behind_a_place_is_not_asked_for() {
        let pages = pages::set_aside(2 * PAGE).expect("address space");
        let start = pages.addr().get();
        // SAFETY: both pages are this test's.
        assert!(unsafe { pages::open(pages, PAGE) });
        let both = [(PAGE - 8 - GAP_BYTE_MAX, 8), (PAGE - 8, 8)];
        assert_eq!(ask(start, &both), [Some(vec![0; 8]), Some(vec![0; 8])]);
        // SAFETY: as above.
        assert!(unsafe { pages::unmap(pages, 2 * PAGE) });
    }
}
