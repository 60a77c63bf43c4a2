//! Memory that others allocated and the program tells us about.

use super::Tracker;
use super::allocate::Allocated;
use super::release::{Release, ReleaseVerdict};
use crate::capture::EventPlace;
use crate::detect::diagnose::{self, Attempt};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, FamilyId, Insertion};
use crate::memory::page_map::ADDRESS_END;
use crate::memory::reentry::OurOwnWork;
use crate::memory::{Address, ByteCount};

/// Why a pointer cannot be adopted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdoptError {
    /// Null, or no address a program can have.
    NotAnAddress,
    /// A live block is recorded there already.
    AlreadyRecorded,
    /// No such family is declared.
    UnknownFamily,
    /// The size reaches beyond the address space.
    SizeTooLarge,
    /// A limit of the ledger is reached: there is no record for the block.
    NoRoom,
}

impl Tracker {
    /// Records foreign memory as a live block of `family`. A handle that was adopted with
    /// size zero takes the new size and family and keeps its origin: its owner knows more now.
    ///
    /// # Errors
    /// See [`AdoptError`]; then nothing is recorded.
    pub fn adopt(
        &self,
        pointer: Address,
        size: ByteCount,
        family: FamilyId,
        place: EventPlace,
    ) -> Result<(), AdoptError> {
        let _ours = OurOwnWork::begin();
        if pointer.is_null() || pointer.get() >= ADDRESS_END {
            return Err(AdoptError::NotAnAddress);
        }
        if size.get() > ADDRESS_END - pointer.get() {
            return Err(AdoptError::SizeTooLarge);
        }
        if !self.families.exists(family) {
            return Err(AdoptError::UnknownFamily);
        }
        let epoch = self.ledger.epoch();
        let known = self.live_block(pointer);
        // What may have been released unseen does not stand in the way of its successor.
        let is_there =
            |known: &BlockRecord| known.flags & flag::ADOPTED != 0 || self.vouches_for_copy(known);
        if let Some(known) = known.filter(is_there) {
            let found = self.ledger.find(pointer);
            let is_open = known.flags & flag::ADOPTED != 0 && known.size.get() == 0;
            return match found.filter(|_| is_open) {
                Some(found) => {
                    self.ledger.redeclare(&found, size, family);
                    Ok(())
                }
                None => Err(AdoptError::AlreadyRecorded),
            };
        }
        let block = Allocated {
            address: pointer,
            size,
            family,
            epoch,
            flags: flag::ADOPTED,
        };
        match self.note_allocation(block, &place) {
            Insertion::Recorded => Ok(()),
            Insertion::Dropped => Err(AdoptError::NoRoom),
        }
    }

    /// Takes a block out of the ledger because its owner releases it, whatever its family.
    pub fn disown(&self, pointer: Address, place: EventPlace) -> ReleaseVerdict {
        let _ours = OurOwnWork::begin();
        let family = self
            .live_block(pointer)
            .map_or(FamilyId::ADOPTED, |block| block.family);
        self.release_by_owner(pointer, family, place)
    }

    /// Decides a release that the program will carry out itself with a function of `family`. A
    /// pointer the ledger does not know is a finding: here the program claims that it does.
    pub fn release_by_owner(
        &self,
        pointer: Address,
        family: FamilyId,
        place: EventPlace,
    ) -> ReleaseVerdict {
        let _ours = OurOwnWork::begin();
        let release = Release {
            pointer,
            family,
            may_withhold: false,
        };
        let verdict = self.note_release(release, place);
        if verdict == ReleaseVerdict::Unknown {
            self.refuse_unknown(pointer, Attempt::Release(family), place);
            return ReleaseVerdict::Refused;
        }
        verdict
    }

    /// Reports a second release of a block from what was known right after the first, without
    /// looking at the ledger: the address may belong to another block by now.
    pub fn note_double_release(&self, released: &BlockRecord, place: EventPlace) {
        let _ours = OurOwnWork::begin();
        let at = self.occurrence(place);
        let attempt = Attempt::Release(released.family);
        self.found(&diagnose::released_before(released, attempt, at));
    }

    fn live_block(&self, pointer: Address) -> Option<BlockRecord> {
        let record = self.ledger.find(pointer)?.read()?;
        (!diagnose::is_released(record.state)).then_some(record)
    }
}
