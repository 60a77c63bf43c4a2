//! Blocks between guard pages: where they lie, and opening and closing their pages.
//!
//! Each class has slots of one length: some data pages and one closed page behind them. On the right
//! side a block ends at the end of its last data page, up to the alignment, so an access behind it
//! meets the closed page at once; on the left side it begins with the slot, behind the closed page of
//! the slot in front, so an access before it does. A released block's pages are closed, and stay so until every other slot of
//! its class has been used since. How pages are closed is [`super::closing`]'s.
//!
//! Two pools can be: one for blocks that are guarded by number, and a small one for the first block of each
//! stack ([`Capacity`]), which every session may have; its blocks are in [`super::disguise`].
//!
//! Who may change a slot: between `take` and `give_back` the block's owner. The signal handler only
//! reads slots, and opens pages.

#![expect(unsafe_code, reason = "closes, opens and fills pages of its own")]

use super::capacity::{CLASS_COUNT, slot_byte_count};
use super::closing::Method;
use super::disguise::{self, HEADER_BYTE_COUNT};
use crate::ledger::Ticket;
use crate::ledger::word::Word;
use crate::memory::lock::Lock;
use crate::memory::pages::PAGE;
use crate::memory::table::{Table, Zeroed};
use crate::memory::{Address, ByteCount};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

pub use super::capacity::{Capacity, Side};

/// Proof that nobody takes or gives back a slot, for the time of a fork.
#[derive(Debug)]
pub struct HeldQueues<'a> {
    _guards: Vec<MutexGuard<'a, Queue>>,
}

/// The largest block that is guarded.
pub const GUARDED_BYTE_MAX: usize = PAGE << (CLASS_COUNT - 1);
/// Pages opened for an access that went on, until they are closed again.
const OPENED_PAGE_COUNT_MAX: usize = 64;
const ALIGNMENT: usize = 16;
/// Slots that are closed together before the first of them is used.
const CLOSED_AHEAD_COUNT: u32 = if cfg!(test) { 6 } else { 64 };

/// One place for a block. All atomic, because the signal handler reads it.
#[derive(Debug, Default)]
struct Slot {
    block: AtomicUsize,
    /// One while the block is live: then its pages must not be closed.
    is_live: AtomicU32,
    /// The next in the queue of released slots; zero ends it.
    next: AtomicU32,
    number: AtomicU32,
    word: AtomicU64,
}

// SAFETY: a slot is made of atomic integers, for which zero is the default.
unsafe impl Zeroed for Slot {}

/// The queue of released slots of a class, oldest first, as slot numbers counted from one. The pages of
/// all slots that are not live are closed, of those never used as far as `closed_count` says.
#[derive(Debug, Default)]
struct Queue {
    used_count: u32,
    closed_count: u32,
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
struct Class {
    start: usize,
    slot_byte_count: usize,
    slots: Table<Slot>,
    queue: Lock<Queue>,
}

/// All slots.
#[derive(Debug)]
pub struct Guard {
    method: Method,
    /// The closed page in front of disguised blocks; zero where they are not.
    window: usize,
    classes: [Class; CLASS_COUNT],
    opened: [AtomicUsize; OPENED_PAGE_COUNT_MAX],
}

/// A slot that was taken for a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Where the block starts; its bytes are zero.
    pub block: Address,
    /// Names the released block that was here before.
    pub before: Option<Ticket>,
}

/// What an address among the slots is near to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nearby {
    /// The block whose slot the address lies in.
    pub block: Address,
    /// The block in the next slot: an access may have been meant for it.
    pub next: Option<Address>,
}

impl Guard {
    /// Reserves the address space; `None` when the kernel refuses.
    #[must_use]
    pub fn new(capacity: Capacity) -> Option<Self> {
        Self::closing_by(Method::of_kernel()?, capacity)
    }

    fn closing_by(method: Method, capacity: Capacity) -> Option<Self> {
        let counts: [usize; CLASS_COUNT] =
            std::array::from_fn(|class| capacity.slot_count(class, method));
        let byte_count = |(class, count): (usize, &usize)| count * slot_byte_count(class) + PAGE;
        let whole = counts.iter().enumerate().map(byte_count).sum();
        let (window, mut front) = capacity.place(whole)?;
        let mut classes = Vec::with_capacity(CLASS_COUNT);
        for (class, &count) in counts.iter().enumerate() {
            classes.push(Class::new(class, method, count, front)?);
            front += byte_count((class, &count));
        }
        Some(Self {
            method,
            window,
            classes: classes.try_into().ok()?,
            opened: [const { AtomicUsize::new(0) }; OPENED_PAGE_COUNT_MAX],
        })
    }

    /// The page that glibc meets when it is given a disguised block without us.
    #[must_use]
    pub fn window(&self) -> Option<Address> {
        (self.window != 0).then(|| Address::new(self.window))
    }

    /// Keeps everybody else out until the result is dropped.
    pub fn hold(&self) -> HeldQueues<'_> {
        let guards = self.classes.iter().map(|class| class.queue.lock());
        HeldQueues {
            _guards: guards.collect(),
        }
    }

    /// Finds a place for a block and opens it. `None` when it is too large, when every slot of its
    /// class is live, or when the kernel refuses.
    #[must_use]
    pub fn take(&self, size: ByteCount, side: Side) -> Option<Taken> {
        let rounded = size.get().max(1).checked_next_multiple_of(ALIGNMENT)?;
        let is_disguised = self.window != 0 && side != Side::Left;
        let header = if is_disguised { HEADER_BYTE_COUNT } else { 0 };
        let page_count = (rounded + header).div_ceil(PAGE);
        let class = page_count.checked_next_power_of_two()?.trailing_zeros() as usize;
        let class = self.classes.get(class)?;
        self.close_again();
        let number = class.queue.lock().take(class, self.method)?;
        let slot = class.slot(number)?;
        let data_byte_count = page_count * PAGE;
        let slot_start = class.start_of(number);
        let slot_end = slot_start + class.slot_byte_count;
        let (first_page, block) = match side {
            Side::Left => (slot_start, slot_start),
            Side::Right | Side::Alternate => {
                // One that fills its pages would begin at a page's start, with nothing in front to look at.
                let fills_pages = is_disguised && rounded.is_multiple_of(PAGE);
                let end = slot_end - PAGE - if fills_pages { HEADER_BYTE_COUNT } else { 0 };
                (slot_end - PAGE - data_byte_count, end - rounded)
            }
        };
        slot.is_live.store(1, Ordering::Release);
        if !self.open(first_page, data_byte_count) {
            slot.is_live.store(0, Ordering::Release);
            class.queue.lock().give_back(class, number);
            return None;
        }
        let before = slot.ticket();
        slot.number.store(0, Ordering::Relaxed);
        slot.block.store(block, Ordering::Release);
        let block = Address::new(block);
        // SAFETY: the pages were opened above, and nobody has the pointer yet.
        unsafe { super::redzone::arm_guarded(block, size) };
        if is_disguised {
            // SAFETY: as above, and the pages have room for the header in front of the block.
            unsafe { disguise::put_on(block) };
        }
        Some(Taken { block, before })
    }

    /// Closes the pages of a released block. `ticket` names it in the ledger until the slot is used
    /// again.
    pub fn give_back(&self, block: Address, ticket: Option<Ticket>) {
        let Some((class, number)) = self.find(block) else {
            return;
        };
        let Some(slot) = class.slot(number) else {
            return;
        };
        if let Some(ticket) = ticket {
            slot.word.store(ticket.word.to_bits(), Ordering::Relaxed);
            slot.number.store(ticket.number, Ordering::Relaxed);
        }
        slot.is_live.store(0, Ordering::Release);
        let start = class.start_of(number);
        let is_closed = self.close(start, class.slot_byte_count);
        self.close_again();
        // A slot that the kernel does not close is not used again.
        if is_closed {
            class.queue.lock().give_back(class, number);
        }
    }

    /// Whether a block begins here that has not been given back.
    #[must_use]
    pub fn is_live(&self, block: Address) -> bool {
        let slot = self
            .find(block)
            .and_then(|(class, number)| class.slot(number));
        slot.is_some_and(|slot| {
            slot.is_live.load(Ordering::Acquire) != 0
                && slot.block.load(Ordering::Acquire) == block.get()
        })
    }

    /// Whether the address lies among the slots.
    #[must_use]
    pub fn covers(&self, address: Address) -> bool {
        self.find(address).is_some()
    }

    /// The blocks whose slots are at the address or next to it. For the signal handler: takes no
    /// lock.
    #[must_use]
    pub fn nearby(&self, address: Address) -> Option<Nearby> {
        // In front of the first slot lies a closed page as well.
        let (class, number) = self
            .find(address)
            .or_else(|| self.find(address.offset_by(PAGE)))?;
        let block = |number| {
            let block = class.slot(number)?.block.load(Ordering::Acquire);
            (block != 0).then(|| Address::new(block))
        };
        Some(Nearby {
            block: block(number)?,
            next: block(number + 1),
        })
    }

    /// Opens the page of an access that goes on; it is closed again at a later event. For the signal
    /// handler: takes no lock.
    pub fn let_pass(&self, address: Address) -> bool {
        let page = address.get() / PAGE * PAGE;
        let empty = |place: &&AtomicUsize| {
            place
                .compare_exchange(0, page, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        };
        // Without a place to note it, the page stays open.
        let _ = self.opened.iter().find(empty);
        self.open(page, PAGE)
    }

    /// Closes the pages again that were opened for accesses which went on.
    pub fn close_again(&self) {
        for place in &self.opened {
            if place.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let page = place.swap(0, Ordering::AcqRel);
            if page != 0 && !self.is_in_use(page) {
                self.close(page, PAGE);
            }
        }
    }

    /// Whether the page holds a live block: its slot has been taken since the page was opened.
    fn is_in_use(&self, page: usize) -> bool {
        let Some((class, number)) = self.find(Address::new(page)) else {
            return false;
        };
        let is_data = page - class.start_of(number) < class.slot_byte_count - PAGE;
        let slot = class.slot(number);
        is_data && slot.is_some_and(|slot| slot.is_live.load(Ordering::Acquire) != 0)
    }

    fn find(&self, address: Address) -> Option<(&Class, u32)> {
        self.classes.iter().find_map(|class| {
            let distance = address.get().checked_sub(class.start)?;
            let index = distance / class.slot_byte_count;
            let number = u32::try_from(index).ok()?.checked_add(1)?;
            (index < class.slots.len()).then_some((class, number))
        })
    }

    fn open(&self, start: usize, byte_count: usize) -> bool {
        self.method.open(start, byte_count)
    }

    fn close(&self, start: usize, byte_count: usize) -> bool {
        self.method.close(start, byte_count)
    }
}

impl Class {
    /// Slots behind `front`, which is the closed page in front of the first of them.
    fn new(class: usize, method: Method, slot_count: usize, front: usize) -> Option<Self> {
        let slot_byte_count = slot_byte_count(class);
        // The page in front of the first slot is closed like the one behind each.
        let mut queue = Queue::default();
        if method == Method::Protection {
            // In one piece: later each slot would split the mapping.
            if method.close(front, slot_count * slot_byte_count + PAGE) {
                queue.closed_count = u32::try_from(slot_count).ok()?;
            }
        } else {
            method.close(front, PAGE);
        }
        Some(Self {
            start: front + PAGE,
            slot_byte_count,
            slots: Table::new(slot_count)?,
            queue: Lock::new(queue),
        })
    }

    /// The slot with this number, counted from one.
    fn slot(&self, number: u32) -> Option<&Slot> {
        self.slots.get(number.checked_sub(1)? as usize)
    }

    fn start_of(&self, number: u32) -> usize {
        self.start + (number as usize - 1) * self.slot_byte_count
    }
}

impl Slot {
    fn ticket(&self) -> Option<Ticket> {
        let number = self.number.load(Ordering::Relaxed);
        (number != 0).then(|| Ticket {
            number,
            word: Word::from_bits(self.word.load(Ordering::Relaxed)),
        })
    }
}

impl Queue {
    /// A slot that was never used, or the one whose block was released first.
    fn take(&mut self, class: &Class, method: Method) -> Option<u32> {
        if (self.used_count as usize) < class.slots.len() {
            if self.used_count == self.closed_count {
                self.close_ahead(class, method)?;
            }
            self.used_count += 1;
            return Some(self.used_count);
        }
        let number = self.oldest;
        let slot = class.slot(number)?;
        self.oldest = slot.next.swap(0, Ordering::Relaxed);
        if self.oldest == 0 {
            self.newest = 0;
        }
        Some(number)
    }

    /// Closes the next slots that were never used; `None` when the kernel refuses.
    #[cold]
    fn close_ahead(&mut self, class: &Class, method: Method) -> Option<()> {
        let rest = u32::try_from(class.slots.len())
            .ok()?
            .checked_sub(self.closed_count)?;
        let count = rest.min(CLOSED_AHEAD_COUNT);
        let start = class.start_of(self.closed_count + 1);
        if !method.close(start, count as usize * class.slot_byte_count) {
            return None;
        }
        self.closed_count += count;
        Some(())
    }

    fn give_back(&mut self, class: &Class, number: u32) {
        match class.slot(self.newest) {
            Some(newest) => newest.next.store(number, Ordering::Relaxed),
            None => self.oldest = number,
        }
        self.newest = number;
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::super::disguise::WINDOW_BYTE_COUNT;
    use super::*;

    fn is_readable(address: usize) -> bool {
        crate::memory::peek::peek(Address::new(address), &mut [0])
    }

    /// One for each way in which this kernel can close pages.
    fn guards() -> impl Iterator<Item = Guard> {
        let methods = Method::all_of_kernel().into_iter();
        methods.map(|method| Guard::closing_by(method, Capacity::Full).expect("pages"))
    }

    #[test]
    fn first_blocks_are_disguised_and_lie_in_one_window() {
        let guard = Guard::new(Capacity::First).expect("pages");
        let window = guard.window().expect("a window").get();
        assert!(window.is_multiple_of(WINDOW_BYTE_COUNT) && !is_readable(window));
        for size in [1, 16, 48, 4_080, PAGE, 5_000, 3 * PAGE] {
            let size = ByteCount::new(size);
            let taken = guard.take(size, Side::Right).expect("a slot");
            let start = taken.block.get();
            assert_eq!(start & !(WINDOW_BYTE_COUNT - 1), window);
            assert!(is_readable(start - HEADER_BYTE_COUNT));
            assert!(!is_readable((start + size.get()).next_multiple_of(PAGE)));
        }
        let largest = ByteCount::new(GUARDED_BYTE_MAX);
        assert_eq!(guard.take(largest, Side::Right), None, "with its header");
    }

    fn ends(taken: &Taken, size: usize) -> (usize, usize) {
        let start = taken.block.get();
        (start, start + size)
    }

    #[test]
    fn a_block_ends_where_memory_ends() {
        for guard in guards() {
            for size in [16, 48, PAGE, PAGE + 16, 3 * PAGE, GUARDED_BYTE_MAX] {
                let taken = guard
                    .take(ByteCount::new(size), Side::Right)
                    .expect("a slot");
                let (start, end) = ends(&taken, size);
                assert!(is_readable(start) && is_readable(end - 1), "{size}");
                assert!(!is_readable(end), "{size}");
                assert!(start.is_multiple_of(ALIGNMENT));
                assert!(guard.covers(taken.block));
                guard.give_back(taken.block, None);
                assert!(!is_readable(start) && !is_readable(end - 1), "{size}");
            }
            let too_large = ByteCount::new(GUARDED_BYTE_MAX + 1);
            assert_eq!(guard.take(too_large, Side::Right), None);
            assert_eq!(guard.take(ByteCount::new(usize::MAX), Side::Right), None);
        }
    }

    #[test]
    fn a_block_begins_where_memory_begins() {
        for guard in guards() {
            for size in [16, 48, PAGE, 3 * PAGE, GUARDED_BYTE_MAX, 3 * PAGE] {
                let taken = guard.take(ByteCount::new(size), Side::Left);
                let taken = taken.expect("a slot");
                let (start, end) = ends(&taken, size);
                assert!(is_readable(start) && is_readable(end - 1), "{size}");
                assert!(!is_readable(start - 1), "{size}");
                assert!(!is_readable(end.next_multiple_of(PAGE)), "{size}");
                let before = guard.nearby(Address::new(start - 1)).expect("a slot");
                assert!(before.block == taken.block || before.next == Some(taken.block));
            }
            assert_eq!(Side::Alternate.at(3), Side::Left);
        }
    }

    #[test]
    fn a_slot_is_used_again_when_all_others_have_been() {
        for guard in guards() {
            let size = ByteCount::new(10);
            let first = guard.take(size, Side::Right).expect("a slot");
            guard.give_back(first.block, None);
            for _ in 1..Capacity::Full.slot_count(0, guard.method) {
                let other = guard.take(size, Side::Right).expect("a slot");
                assert_ne!(other.block, first.block);
            }
            assert_eq!(guard.take(size, Side::Right), Some(first));
            assert_eq!(guard.take(size, Side::Right), None, "all are live");
        }
    }

    #[test]
    fn an_opened_page_is_closed_again() {
        for guard in guards() {
            let taken = guard.take(ByteCount::new(32), Side::Right).expect("a slot");
            let (_, end) = ends(&taken, 32);
            assert!(guard.let_pass(Address::new(end)));
            assert!(is_readable(end));
            guard.close_again();
            assert!(!is_readable(end));
            let nearby = guard.nearby(Address::new(end)).expect("a slot");
            assert_eq!((nearby.block, nearby.next), (taken.block, None));
        }
    }
}
