//! The deaths of code objects: what makes it safe to remember anything by the address of one.
//!
//! `PyCode_Type.tp_dealloc` is replaced by a function that notes the death and calls the original:
//! one pointer store that needs no interpreter lock and covers all interpreters of the process.
//!
//! Two numbers follow from it. [`deaths`] counts deaths around one address: whoever remembers
//! something of a code object by its address remembers this number with it. [`generation`] counts
//! deaths of code objects that took part in a remembered stack ([`note_sighting`]): a program that
//! makes and drops code all day, but captures none of it, keeps its remembered stacks.
//!
//! Everything here belongs to the process, as the interpreter's type does.

#![expect(
    unsafe_code,
    reason = "replaces a function pointer in an interpreter type"
)]

use crate::capture::hash::Hash;
use crate::memory::Address;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Code objects that share a cell are forgotten together, which costs time only.
const CELL_BITS: u32 = 15;
const CELL_COUNT: usize = 1 << CELL_BITS;

static DEATHS: [AtomicU32; CELL_COUNT] = [const { AtomicU32::new(0) }; CELL_COUNT];
/// The generation in which a code object of this cell was last part of a remembered stack.
static SIGHTINGS: [AtomicU64; CELL_COUNT] = [const { AtomicU64::new(0) }; CELL_COUNT];
static GENERATION: AtomicU64 = AtomicU64::new(1);

type Dealloc = extern "C" fn(*mut u8);

/// The function we stand in front of. Set once: if the slot ever holds something that is neither
/// this nor ours, somebody else changed it, and we do not wrap their function, because it may call
/// ours.
static ORIGINAL: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

/// How many code objects around this address have died.
#[inline]
pub(super) fn deaths(code: Address) -> u32 {
    DEATHS
        .get(cell(code))
        .map_or(0, |deaths| deaths.load(Ordering::Acquire))
}

/// The current generation of remembered stacks.
#[inline]
pub(in crate::capture) fn generation() -> u64 {
    GENERATION.load(Ordering::Acquire)
}

/// Makes every stack remembered so far unfindable.
fn begin_generation() {
    GENERATION.fetch_add(1, Ordering::AcqRel);
}

/// Notes that a stack remembered in `generation` contains this code object. Before the stack is
/// remembered, so that a death after that finds the sighting.
pub(super) fn note_sighting(code: Address, generation: u64) {
    if let Some(sighting) = SIGHTINGS.get(cell(code)) {
        sighting.fetch_max(generation, Ordering::AcqRel);
    }
}

/// Notes that a code object is about to be released. Before its memory is, so that no new code
/// object at the same address can be met under the old numbers.
fn note_death(code: Address) {
    let cell = cell(code);
    if let Some(deaths) = DEATHS.get(cell) {
        deaths.fetch_add(1, Ordering::AcqRel);
    }
    let seen_in = SIGHTINGS
        .get(cell)
        .map_or(0, |sighting| sighting.load(Ordering::Acquire));
    // A sighting in an older generation is in no stack that can still be found.
    if seen_in >= generation() {
        begin_generation();
    }
}

/// Makes everything remembered so far unfindable.
pub(in crate::capture) fn forget_everything() {
    for deaths in &DEATHS {
        deaths.fetch_add(1, Ordering::AcqRel);
    }
    begin_generation();
}

fn cell(code: Address) -> usize {
    let hash = Hash::seeded(0).with(code.get() as u64).get();
    (hash >> (u64::BITS - CELL_BITS)) as usize
}

/// The slot of a type that holds its release function.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeallocSlot(&'static AtomicPtr<u8>);

impl DeallocSlot {
    /// The slot at this address.
    ///
    /// # Safety
    /// * `address` is the `tp_dealloc` field of `PyCode_Type`, which is static and writable.
    pub(super) unsafe fn at(address: Address) -> Self {
        // SAFETY: the field is an aligned pointer in a static object; the interpreter reads it
        // with plain loads of one word, which a store of one word never tears.
        Self(unsafe { AtomicPtr::from_ptr(std::ptr::with_exposed_provenance_mut(address.get())) })
    }

    /// Stands in front of the release function. Whether it succeeded; also when it was so before.
    pub(super) fn hook(self) -> bool {
        let ours = ours();
        let found = self.0.load(Ordering::Acquire);
        if found == ours {
            return true;
        }
        let null = std::ptr::null_mut();
        let original =
            match ORIGINAL.compare_exchange(null, found, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => found,
                Err(original) => original,
            };
        if found != original {
            return false;
        }
        let hooked = self
            .0
            .compare_exchange(original, ours, Ordering::AcqRel, Ordering::Acquire);
        // What died while nobody watched is not known.
        forget_everything();
        hooked.is_ok() || hooked == Err(ours)
    }

    /// Puts the original function back. If somebody else has stepped in front of us meanwhile, the
    /// slot is theirs and stays; they call us, and we call the original.
    pub(super) fn unhook(self) {
        let original = ORIGINAL.load(Ordering::Acquire);
        if !original.is_null() {
            let _ = self
                .0
                .compare_exchange(ours(), original, Ordering::AcqRel, Ordering::Acquire);
        }
    }
}

fn ours() -> *mut u8 {
    note_death_and_release as Dealloc as *mut u8
}

/// Stands in for `tp_dealloc` of code objects.
extern "C" fn note_death_and_release(code: *mut u8) {
    note_death(Address::of(code));
    let original = ORIGINAL.load(Ordering::Acquire);
    if !original.is_null() {
        // SAFETY: `hook` stored the type's own release function here before it made this function
        // reachable, and a `destructor` takes the object and returns nothing.
        let release = unsafe { std::mem::transmute::<*mut u8, Dealloc>(original) };
        release(code);
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::super::fake::FakeInterpreter;
    use super::*;

    impl DeallocSlot {
        /// Releases a code object the way the interpreter does: through the slot.
        pub(in crate::capture) fn release(self, code: usize) {
            let function = self.0.load(Ordering::Acquire);
            // SAFETY: the slot of a fake type holds `release` or our function.
            let function = unsafe { std::mem::transmute::<*mut u8, Dealloc>(function) };
            function(std::ptr::with_exposed_provenance_mut(code));
        }

        fn holds(self, function: *mut u8) -> bool {
            self.0.load(Ordering::Acquire) == function
        }
    }

    extern "C" fn somebody_else(_code: *mut u8) {}

    fn pointer(function: Dealloc) -> *mut u8 {
        function as *mut u8
    }

    #[test]
    fn hooking_is_undone_without_a_trace() {
        let fake = FakeInterpreter::new();
        let slot = fake.interpreter().dealloc_slot;
        // Not `release`, of which the compiler may make several.
        let found = slot.0.load(Ordering::Acquire);
        assert!(slot.hook());
        assert!(slot.holds(ours()));
        assert!(slot.hook(), "it is so already");
        slot.unhook();
        assert!(slot.holds(found));
        slot.unhook();
        assert!(slot.hook(), "and again");
    }

    #[test]
    fn a_slot_that_somebody_else_changed_stays_theirs() {
        let fake = FakeInterpreter::new();
        let slot = fake.interpreter().dealloc_slot;
        assert!(slot.hook());
        slot.0.store(pointer(somebody_else), Ordering::Release);
        slot.unhook();
        assert!(slot.holds(pointer(somebody_else)));
        assert!(
            !slot.hook(),
            "they may call us: wrapping them could go in circles"
        );
        assert!(slot.holds(pointer(somebody_else)));
    }

    #[test]
    fn a_death_is_counted_at_its_address() {
        let fake = FakeInterpreter::new();
        let slot = fake.interpreter().dealloc_slot;
        assert!(slot.hook());
        let code = Address::new(0x7000_1230);
        let before = deaths(code);
        slot.release(code.get());
        assert!(deaths(code) > before);
    }

    #[test]
    fn only_the_death_of_remembered_code_ends_a_generation() {
        let fake = FakeInterpreter::new();
        let slot = fake.interpreter().dealloc_slot;
        assert!(slot.hook());
        let (seen, unseen) = (0x7000_4560, 0x7000_7890);
        let now = generation();
        note_sighting(Address::new(seen), now);
        slot.release(seen);
        assert!(generation() > now);
        // Other tests end generations too; an attempt without one comes soon.
        let is_unharmed = (0..1_000).any(|_| {
            let now = generation();
            slot.release(unseen);
            generation() == now
        });
        assert!(is_unharmed);
    }
}
