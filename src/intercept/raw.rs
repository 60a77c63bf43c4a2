//! Reading single words of the program's memory that its own contract makes readable.

#![expect(unsafe_code, reason = "follows pointers that the program passed")]

/// The word that a pointer the program passed for a result points at.
///
/// Called after the real function has succeeded, which means that it wrote there.
pub(super) fn read_word(place: *const usize) -> usize {
    // SAFETY: the real function has just stored its result at this place.
    unsafe { place.read() }
}
