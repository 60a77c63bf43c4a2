//! One relocation slot: eight bytes that the program reads at any moment, so every access is atomic.

#![expect(unsafe_code, reason = "reads and writes slots of loaded objects")]

use super::image::Image;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the slot holds; `None` when it is not a slot of this object.
pub(super) fn read(image: &Image<'_>, address: usize) -> Option<usize> {
    Some(slot(image, address)?.load(Ordering::Acquire))
}

/// Stores `new` if the slot holds `held`; `false` when it does not. The caller has made sure that
/// the page can be written.
pub(super) fn exchange(image: &Image<'_>, address: usize, held: usize, new: usize) -> bool {
    slot(image, address).is_some_and(|slot| {
        slot.compare_exchange(held, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    })
}

fn slot<'list>(image: &Image<'list>, address: usize) -> Option<&'list AtomicUsize> {
    // The bytes are in a readable segment and aligned.
    image.table::<usize>(address, 1)?;
    let place = std::ptr::with_exposed_provenance_mut(address);
    // SAFETY: the line above found the place in a segment of the object, which stays mapped for
    // `'list`; ld.so and the program access slots by single aligned loads and stores, so atomic
    // access does not conflict with theirs.
    Some(unsafe { AtomicUsize::from_ptr(place) })
}
