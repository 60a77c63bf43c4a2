//! Large released blocks: they keep their addresses, give their pages back, and nobody may touch them.
//!
//! Only whole pages inside a block are closed: the words glibc keeps around it, and its neighbours,
//! stay as they are. So a withheld array of any size costs two pages at most, and an access through
//! an old view of it is seen at the instruction. What lies on the first and the last page is filled
//! like a small block.
//!
//! Places change under a lock; the signal handler only reads them, and opens pages.

use super::closing::Method;
use crate::ledger::Ticket;
use crate::ledger::word::Word;
use crate::memory::lock::Lock;
use crate::memory::pages::PAGE;
use crate::memory::{Address, ByteCount, pages};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{MutexGuard, OnceLock};

/// A block of at least this size is closed and not filled: opening and closing its pages costs less
/// than filling them.
pub const CLOSED_BLOCK_BYTE_MIN: usize = if cfg!(test) { 4 * PAGE } else { 1 << 20 };
/// Blocks closed at most: each may split a mapping in three, of which the kernel allows 65,530.
pub const CLOSED_BLOCK_COUNT_MAX: usize = if cfg!(test) { 2 } else { 256 };
/// Bytes of addresses, not of memory, closed at most.
pub const CLOSED_BYTE_MAX: u64 = 4 << 30;

/// One closed block.
#[derive(Debug, Default)]
struct Place {
    /// The closed pages; zero where there are none.
    start: AtomicUsize,
    end: AtomicUsize,
    number: AtomicU32,
    word: AtomicU64,
}

#[derive(Debug, Default)]
struct Ring {
    oldest: usize,
    count: usize,
    byte_count: u64,
    evicted_count: u64,
}

/// Proof that nobody closes or opens a block, for the time of a fork.
#[derive(Debug)]
pub struct HeldClosed<'a> {
    _guard: MutexGuard<'a, Ring>,
}

/// All closed blocks.
#[derive(Debug)]
pub struct Closed {
    places: [Place; CLOSED_BLOCK_COUNT_MAX],
    ring: Lock<Ring>,
    method: OnceLock<Option<Method>>,
}

impl Default for Closed {
    fn default() -> Self {
        Self {
            places: std::array::from_fn(|_| Place::default()),
            ring: Lock::default(),
            method: OnceLock::new(),
        }
    }
}

/// The whole pages inside a block.
#[must_use]
pub fn whole_pages(block: Address, size: ByteCount) -> Range<usize> {
    let start = block.get().next_multiple_of(PAGE);
    let end = (block.get() + size.get()) / PAGE * PAGE;
    start..end.max(start)
}

impl Closed {
    /// Whether a block of this size is closed.
    #[inline]
    #[must_use]
    pub fn takes(size: ByteCount) -> bool {
        size.get() >= CLOSED_BLOCK_BYTE_MIN && size.get() as u64 <= CLOSED_BYTE_MAX
    }

    /// Closes a released block, and hands the tickets of those that no longer fit to `evict`, open
    /// again. `false` when the kernel refuses: the block must be given back at once.
    pub fn withhold(&self, ticket: Ticket, size: ByteCount, mut evict: impl FnMut(Ticket)) -> bool {
        let Some(method) = self.method() else {
            return false;
        };
        loop {
            let mut ring = self.ring.lock();
            let fits = ring.count < CLOSED_BLOCK_COUNT_MAX
                && ring.byte_count + size.get() as u64 <= CLOSED_BYTE_MAX;
            if fits {
                return self.close(&mut ring, method, ticket, size);
            }
            let oldest = self.open_oldest(&mut ring, method);
            drop(ring);
            if let Some(oldest) = oldest {
                evict(oldest);
            }
        }
    }

    /// Opens every closed block and hands its ticket to `evict`. Returns whether there was any.
    pub fn drain(&self, mut evict: impl FnMut(Ticket)) -> bool {
        let Some(method) = self.method() else {
            return false;
        };
        let mut is_any = false;
        loop {
            let mut ring = self.ring.lock();
            if ring.count == 0 {
                return is_any;
            }
            let oldest = self.open_oldest(&mut ring, method);
            drop(ring);
            is_any = true;
            if let Some(oldest) = oldest {
                evict(oldest);
            }
        }
    }

    /// The closed block that an address lies in. For the signal handler: takes no lock.
    #[must_use]
    pub fn find(&self, address: Address) -> Option<Ticket> {
        let mut places = self.places.iter();
        let place = places.find(|place| {
            let start = place.start.load(Ordering::Acquire);
            start != 0 && (start..place.end.load(Ordering::Relaxed)).contains(&address.get())
        })?;
        Some(place.ticket())
    }

    /// Opens the page of an access that goes on. It stays open until the block is given back. For
    /// the signal handler.
    pub fn let_pass(&self, address: Address) -> bool {
        let page = address.get() / PAGE * PAGE;
        self.method().is_some_and(|method| method.open(page, PAGE))
    }

    /// Closed blocks and the bytes of their pages, and how many had to make room.
    pub fn held(&self) -> (u64, u64, u64) {
        let ring = self.ring.lock();
        (ring.count as u64, ring.byte_count, ring.evicted_count)
    }

    /// Keeps everybody else out until the result is dropped.
    pub fn hold(&self) -> HeldClosed<'_> {
        HeldClosed {
            _guard: self.ring.lock(),
        }
    }

    fn method(&self) -> Option<Method> {
        let find = || (!addresses_are_short()).then(Method::of_kernel).flatten();
        *self.method.get_or_init(find)
    }

    fn close(&self, ring: &mut Ring, method: Method, ticket: Ticket, size: ByteCount) -> bool {
        let Range { start, end } = whole_pages(ticket.word.address(), size);
        let index = (ring.oldest + ring.count) % CLOSED_BLOCK_COUNT_MAX;
        let Some(place) = self.places.get(index) else {
            return false;
        };
        place.number.store(ticket.number, Ordering::Relaxed);
        place.word.store(ticket.word.to_bits(), Ordering::Relaxed);
        place.end.store(end, Ordering::Relaxed);
        // Known before the first access can be caught.
        place.start.store(start, Ordering::Release);
        if start == end || !method.close(start, end - start) {
            place.start.store(0, Ordering::Release);
            let _ = method.open(start, end - start);
            return false;
        }
        ring.count += 1;
        ring.byte_count += (end - start) as u64;
        true
    }

    /// Opens the oldest block. `None` when the kernel refuses: then it stays closed for ever, for
    /// glibc would write to it.
    fn open_oldest(&self, ring: &mut Ring, method: Method) -> Option<Ticket> {
        let place = self.places.get(ring.oldest)?;
        let ticket = place.ticket();
        let start = place.start.load(Ordering::Relaxed);
        let end = place.end.load(Ordering::Relaxed);
        ring.oldest = (ring.oldest + 1) % CLOSED_BLOCK_COUNT_MAX;
        ring.count -= 1;
        ring.evicted_count += 1;
        ring.byte_count = ring.byte_count.saturating_sub((end - start) as u64);
        let is_open = method.open(start, end - start);
        place.start.store(0, Ordering::Release);
        is_open.then_some(ticket)
    }
}

/// Whether addresses that hold no memory are counted against the program: by a limit of its own, or
/// by a kernel that promises no more memory than there is. Then nothing is closed.
#[must_use]
pub fn addresses_are_short() -> bool {
    let strict = std::fs::read("/proc/sys/vm/overcommit_memory");
    pages::addresses_are_limited() || strict.is_ok_and(|text| text.starts_with(b"2"))
}

impl Place {
    fn ticket(&self) -> Ticket {
        Ticket {
            number: self.number.load(Ordering::Relaxed),
            word: Word::from_bits(self.word.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::memory::peek::peek;

    const SIZE: ByteCount = ByteCount::new(CLOSED_BLOCK_BYTE_MIN);

    /// One for each way in which this kernel can close pages.
    fn each_closed() -> impl Iterator<Item = Closed> {
        let methods = Method::all_of_kernel().into_iter();
        methods.map(|method| Closed {
            method: OnceLock::from(Some(method)),
            ..Closed::default()
        })
    }

    /// A ticket for a block that begins 16 bytes into fresh pages.
    fn block(number: u32) -> Ticket {
        let mapped = pages::map(CLOSED_BLOCK_BYTE_MIN + PAGE).expect("pages");
        let address = mapped.expose_provenance().get() as u64 + 16;
        Ticket {
            number,
            word: Word::from_bits(address),
        }
    }

    fn is_readable(address: usize) -> bool {
        peek(Address::new(address), &mut [0])
    }

    #[test]
    fn whole_pages_are_closed_and_what_lies_around_them_is_not() {
        for closed in each_closed() {
            let ticket = block(1);
            assert!(closed.withhold(ticket, SIZE, |_| ()));
            let start = ticket.word.address().get();
            let end = start + SIZE.get();
            assert!(is_readable(start - 16) && is_readable(end - 1) && is_readable(start));
            let inside = Address::new(start + PAGE);
            assert!(!is_readable(inside.get()) && !is_readable(end - PAGE));
            assert_eq!(closed.find(inside), Some(ticket));
            assert_eq!(closed.find(Address::new(start)), None, "not closed");
            assert!(closed.let_pass(inside) && is_readable(inside.get()));
            assert_eq!(closed.held().0, 1);
        }
    }

    #[test]
    fn the_oldest_is_opened_and_handed_over_when_there_is_no_room() {
        for closed in each_closed() {
            let tickets = [block(1), block(2), block(3)];
            let mut evicted = Vec::new();
            for ticket in tickets {
                assert!(closed.withhold(ticket, SIZE, |old| evicted.push(old.number)));
            }
            assert_eq!(evicted, [1]);
            assert!(is_readable(tickets[0].word.address().get() + PAGE));
            assert!(closed.drain(|old| evicted.push(old.number)));
            assert!(!closed.drain(|_| ()), "nothing is left");
            assert_eq!((evicted, closed.held()), (vec![1, 2, 3], (0, 0, 3)));
        }
    }

    #[test]
    fn small_blocks_are_not_closed() {
        assert!(Closed::takes(SIZE));
        assert!(!Closed::takes(ByteCount::new(SIZE.get() - 1)));
        assert!(!Closed::takes(ByteCount::new(usize::MAX)));
    }
}
