//! What was written where: every object met, every slot rewritten and what it held before.

use super::functions::Function;
use super::image::{Identity, Image, Range};
use super::loaded::ListAge;
use super::owner::Owner;
use super::targets::Variant;

/// A slot that holds one of our entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct PatchedSlot {
    /// Where the slot is.
    pub(super) address: usize,
    /// What it held, or what it would hold once bound.
    pub(super) original: usize,
    /// Whose entry it holds now.
    pub(super) function: Function,
    /// Which of its entries.
    pub(super) variant: Variant,
}

/// What a pass did with an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// Its slots were looked at.
    Done,
    /// ld.so was still relocating it at this time (milliseconds of a steady clock).
    BeingRelocated(u64),
}

/// A loaded object we have met.
#[derive(Debug)]
pub(super) struct KnownImage {
    /// Which loading of which object.
    pub(super) identity: Identity,
    /// Its file, for `doctor`.
    pub(super) name: String,
    /// Whose it is.
    pub(super) owner: Owner,
    /// Its segments.
    pub(super) ranges: Vec<Range>,
    /// How far we are.
    pub(super) progress: Progress,
    /// The pass in which it was met.
    pub(super) met_in: u64,
    /// What was rewritten.
    pub(super) slots: Vec<PatchedSlot>,
}

impl KnownImage {
    /// An object met for the first time.
    pub(super) fn new(image: &Image<'_>, owner: Owner, progress: Progress, met_in: u64) -> Self {
        Self {
            identity: image.identity(),
            name: String::from_utf8_lossy(image.name()).into_owned(),
            owner,
            ranges: image.loaded().map(|(range, _)| range).collect(),
            progress,
            met_in,
            slots: Vec::new(),
        }
    }

    /// Notes a slot; one that was noted before (and bound again by ld.so meanwhile) keeps one note.
    pub(super) fn note(&mut self, slot: PatchedSlot) {
        match self
            .slots
            .iter_mut()
            .find(|known| known.address == slot.address)
        {
            Some(known) => *known = slot,
            None => self.slots.push(slot),
        }
    }
}

/// Slots that could not be written, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct LeftAlone {
    /// The pages could not be made writable.
    pub(super) protected: u64,
    /// More real functions of one name than variants.
    pub(super) without_variant: u64,
    /// What the slot holds could not be understood.
    pub(super) unresolved: u64,
}

/// Everything that was done to the process.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The objects met, in the order of their identities.
    pub(super) images: Vec<KnownImage>,
    /// The list's age at the last pass.
    pub(super) age: ListAge,
    /// What could not be done.
    pub(super) left_alone: LeftAlone,
    /// Whether slots are to be rewritten (between install and remove).
    pub(super) active: bool,
    /// Passes made.
    pub(super) pass_count: u64,
    /// Slots rewritten in a later pass than the one in which their object was met: calls went past us
    /// meanwhile.
    pub(super) late_slot_count: u64,
}

impl Book {
    /// An empty book.
    pub(super) const fn new() -> Self {
        Self {
            images: Vec::new(),
            age: ListAge {
                added_count: 0,
                removed_count: 0,
            },
            left_alone: LeftAlone {
                protected: 0,
                without_variant: 0,
                unresolved: 0,
            },
            active: false,
            pass_count: 0,
            late_slot_count: 0,
        }
    }

    /// What is known of an object.
    pub(super) fn known(&mut self, image: &Image<'_>) -> Option<&mut KnownImage> {
        let place = self.place_of(&image.identity()).ok()?;
        self.images.get_mut(place)
    }

    /// Whose an object is that was met. To find it out takes a look at all its symbols.
    pub(super) fn owner_of(&self, image: &Image<'_>) -> Option<Owner> {
        let place = self.place_of(&image.identity()).ok()?;
        Some(self.images.get(place)?.owner)
    }

    /// What is known of an object, which is met now if it was not before.
    pub(super) fn meet(&mut self, image: &Image<'_>, owner: Owner, now: u64) -> &mut KnownImage {
        let place = self.place_of(&image.identity()).unwrap_or_else(|place| {
            let progress = Progress::BeingRelocated(now);
            let met = KnownImage::new(image, owner, progress, self.pass_count);
            self.images.insert(place, met);
            place
        });
        &mut self.images[place]
    }

    /// Where an object stands among those met, or would.
    fn place_of(&self, identity: &Identity) -> Result<usize, usize> {
        let by_identity = |known: &KnownImage| known.identity.cmp(identity);
        self.images.binary_search_by(by_identity)
    }

    /// Takes out an object as if it had never been met.
    pub(super) fn forget(&mut self, image: &Image<'_>) {
        let identity = image.identity();
        self.images.retain(|known| known.identity != identity);
    }

    /// Takes out the objects that are no longer loaded.
    pub(super) fn take_unloaded(&mut self, images: &[Image<'_>]) -> Vec<KnownImage> {
        let mut present: Vec<Identity> = images.iter().map(Image::identity).collect();
        present.sort_unstable();
        let gone = |known: &mut KnownImage| present.binary_search(&known.identity).is_err();
        self.images.extract_if(.., gone).collect()
    }

    /// How many slots of a function are rewritten now.
    pub(super) fn slot_count(&self, function: Function) -> usize {
        let slots = self.images.iter().flat_map(|image| &image.slots);
        slots.filter(|slot| slot.function == function).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::loaded;
    use super::*;

    #[test]
    fn what_was_met_is_known_again_and_is_whose_it_was() {
        loaded::with_images(&mut |images, _| {
            let mut book = Book::new();
            assert!(images.len() > 2);
            for image in images.iter().chain(images) {
                assert_eq!(book.meet(image, Owner::CRuntime, 1).owner, Owner::CRuntime);
            }
            assert_eq!(book.images.len(), images.len(), "each once");
            assert!(book.images.is_sorted_by_key(|known| known.identity));
            for image in images {
                let name = String::from_utf8_lossy(image.name());
                assert_eq!(book.known(image).expect("met").name, name);
                assert_eq!(book.owner_of(image), Some(Owner::CRuntime));
            }
            let (last, others) = images.split_last().expect("several");
            let gone = book.take_unloaded(others);
            assert_eq!(gone.len(), 1);
            assert!(book.known(last).is_none() && book.owner_of(last).is_none());
            book.forget(&others[0]);
            assert_eq!(book.images.len(), others.len() - 1);
        });
    }
}
