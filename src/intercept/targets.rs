//! Which real function stands behind each of our entries.
//!
//! A process may have several functions of one name: libc's `malloc` and that of a library linked
//! with `-Bsymbolic` against its own, libstdc++'s `operator new` and a program's. A call that we
//! receive must end where it would have ended without us, so every function has several entries
//! ("variants"), one for each real function met. A slot gets the entry of the function it held.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use super::functions::{FUNCTION_COUNT, Function};
use crate::ledger::FamilyId;

/// Real functions of one name that are told apart. A slot that holds yet another one is left
/// alone and counted.
pub(super) const VARIANT_COUNT: usize = 8;

/// The number of an entry of one function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(super) struct Variant(pub(super) usize);

/// The variant that stands for the function most of the process uses.
pub(super) const MAIN_VARIANT: Variant = Variant(0);

/// The variant of the C++ run time's own slots: for `operator new` and its kin, to which the forms for
/// arrays jump. A call that comes this way may be the end of a call of such a form that began before
/// slots were rewritten.
pub(super) const INNER_VARIANT: Variant = Variant(VARIANT_COUNT - 1);

/// The addresses of the real functions, by function and variant; zero where there is none (yet).
/// Entries read it from assembly.
pub(super) static TARGETS: [[AtomicUsize; VARIANT_COUNT]; FUNCTION_COUNT] =
    [const { [const { AtomicUsize::new(0) }; VARIANT_COUNT] }; FUNCTION_COUNT];

/// For each function, a bit for each variant whose real function is a standard one.
static STANDARD: [AtomicU8; FUNCTION_COUNT] = [const { AtomicU8::new(0) }; FUNCTION_COUNT];

const _: () = assert!(VARIANT_COUNT <= 8, "one bit of a byte for each");
const _: () = assert!(VARIANT_COUNT.is_power_of_two(), "an index is masked");

/// A real function and what is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// Where it is.
    pub(super) address: usize,
    /// Whether it comes from the C library or the C++ run time, so that its blocks are the process
    /// allocator's: they may get a redzone, be withheld, and end in plain `free`.
    pub(super) standard: bool,
}

/// The real function behind an entry.
#[inline]
pub(super) fn address(function: Function, variant: Variant) -> usize {
    TARGETS[function as usize][variant.0 & (VARIANT_COUNT - 1)].load(Ordering::Relaxed)
}

/// Whether the real function behind an entry is a standard one.
#[inline]
pub(super) fn is_standard(function: Function, variant: Variant) -> bool {
    let bits = STANDARD[function as usize].load(Ordering::Relaxed);
    bits >> (variant.0 & (VARIANT_COUNT - 1)) & 1 != 0
}

/// Whether releases may go past us.
static IS_BYPASSED: AtomicBool = AtomicBool::new(false);

/// From now on no function counts as a standard one: some call that releases cannot be received, so
/// memory may be given back and out again unseen. Blocks then get nothing that would have to be
/// looked at, or even repaired, when it is another block's by then.
pub(super) fn trust_no_standard_function() {
    IS_BYPASSED.store(true, Ordering::Relaxed);
    for bits in &STANDARD {
        bits.store(0, Ordering::Relaxed);
    }
}

/// The variant of `function` that stands for `target`, taking a vacant one where needed; `None`
/// when all are taken. Called with the pass lock held.
pub(super) fn variant_for(function: Function, target: Target) -> Option<Variant> {
    let row = &TARGETS[function as usize][..INNER_VARIANT.0];
    let place = row
        .iter()
        .position(|place| place.load(Ordering::Relaxed) == target.address)
        .or_else(|| {
            row.iter()
                .position(|place| place.load(Ordering::Relaxed) == 0)
        })?;
    Some(stand_for(function, Variant(place), target))
}

/// The same for a slot of the C++ run time that its own array forms jump through. Where that is taken,
/// by a second run time, the slot gets a variant like any other.
pub(super) fn inner_variant_for(function: Function, target: Target) -> Option<Variant> {
    let taken = address(function, INNER_VARIANT);
    if taken == 0 || taken == target.address {
        Some(stand_for(function, INNER_VARIANT, target))
    } else {
        variant_for(function, target)
    }
}

/// Has a variant stand for a real function.
fn stand_for(function: Function, variant: Variant, target: Target) -> Variant {
    let bit = 1 << variant.0;
    // The operators of the C++ run time call the process's `malloc`, whose row comes first.
    let is_over_another = function.family() != FamilyId::MALLOC
        && place_is_taken(Function::Malloc)
        && !is_standard(Function::Malloc, MAIN_VARIANT);
    if target.standard && !is_over_another && !IS_BYPASSED.load(Ordering::Relaxed) {
        STANDARD[function as usize].fetch_or(bit, Ordering::Relaxed);
    } else {
        STANDARD[function as usize].fetch_and(!bit, Ordering::Relaxed);
    }
    // Released to the threads that find the entry in a slot: the slot is stored afterwards.
    TARGETS[function as usize][variant.0].store(target.address, Ordering::Release);
    variant
}

fn place_is_taken(function: Function) -> bool {
    address(function, MAIN_VARIANT) != 0
}

/// Forgets variants whose real function is no longer there: `is_loaded` says so. The main variant
/// stays. Called with the pass lock held.
pub(super) fn forget_unloaded(is_loaded: impl Fn(usize) -> bool) {
    for row in &TARGETS {
        for place in &row[MAIN_VARIANT.0 + 1..] {
            let address = place.load(Ordering::Relaxed);
            if address != 0 && !is_loaded(address) {
                place.store(0, Ordering::Relaxed);
            }
        }
    }
}

/// How many real functions of this name were met.
pub(super) fn variant_count(function: Function) -> usize {
    TARGETS[function as usize][..INNER_VARIANT.0]
        .iter()
        .filter(|place| place.load(Ordering::Relaxed) != 0)
        .count()
}
