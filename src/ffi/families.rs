//! The numbers of the families that need not be declared.

use crate::ledger::FamilyId;

/// `malloc` and its kin; released by `free`.
pub const HL_FAMILY_MALLOC: u32 = 0;
/// `operator new`; released by `operator delete`.
pub const HL_FAMILY_NEW: u32 = 1;
/// `operator new[]`; released by `operator delete[]`.
pub const HL_FAMILY_NEW_ARRAY: u32 = 2;
/// `hl_malloc` and its kin; released by `hl_free`.
pub const HL_FAMILY_HEAPLEDGER: u32 = 3;
/// Adopted without saying which function releases it.
pub const HL_FAMILY_ADOPTED: u32 = 4;

/// The header needs numbers as they are; the ledger must mean the same by them.
const _: () = {
    assert!(HL_FAMILY_MALLOC == FamilyId::MALLOC.0 as u32);
    assert!(HL_FAMILY_NEW == FamilyId::NEW.0 as u32);
    assert!(HL_FAMILY_NEW_ARRAY == FamilyId::NEW_ARRAY.0 as u32);
    assert!(HL_FAMILY_HEAPLEDGER == FamilyId::HEAPLEDGER.0 as u32);
    assert!(HL_FAMILY_ADOPTED == FamilyId::ADOPTED.0 as u32);
};
