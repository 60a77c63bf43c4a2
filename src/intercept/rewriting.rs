//! Rewriting the slots of one object, and putting back what they held.
//!
//! The hazards and who keeps them away are told in `pass`: a slot is stored by compare-and-swap against
//! what was looked at, and pages that ld.so has closed are closed again.

use super::book::{Book, PatchedSlot};
use super::elf_layout::{Relocation, relocation};
use super::entry::{entry_address, entry_at};
use super::functions::{Function, Role};
use super::image::{Image, Range};
use super::opened::Opened;
use super::owner::Owner;
use super::page_kinds::PAGE;
use super::pass::Pass;
use super::slot;
use super::targets;

/// What became of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SlotOutcome {
    /// It holds our entry now, or did before.
    Ours,
    /// It is to be left alone, and that is right: no symbol of the table, or undefined and weak.
    NotWanted,
    /// It could not be rewritten.
    LeftAlone,
    /// It holds no address of code: ld.so is not done with the object.
    NotRelocated,
    /// Another thread has had it bound this very moment.
    BoundMeanwhile,
}

impl Pass<'_> {
    /// Rewrites the slots of one object; `false` when one of them is not relocated yet.
    pub(super) fn rewrite(&self, book: &mut Book, place: usize) -> bool {
        let Some(image) = self.images.get(place) else {
            return true;
        };
        let mut opened = None;
        let mut complete = true;
        for entry in image.relocations() {
            let Some((function, address)) = wanted(image, &entry) else {
                continue;
            };
            let is_bound_late = entry.kind() == relocation::JUMP_SLOT;
            let slot = (function, address, is_bound_late);
            let mut outcome = self.rewrite_slot(book, place, slot, &mut opened);
            if outcome == SlotOutcome::BoundMeanwhile {
                // Once only: now it holds its final value.
                outcome = self.rewrite_slot(book, place, slot, &mut opened);
            }
            complete &= !matches!(
                outcome,
                SlotOutcome::NotRelocated | SlotOutcome::BoundMeanwhile
            );
        }
        complete
    }

    fn rewrite_slot(
        &self,
        book: &mut Book,
        place: usize,
        (function, address, is_bound_late): (Function, usize, bool),
        opened: &mut Option<Opened>,
    ) -> SlotOutcome {
        let Some(image) = self.images.get(place) else {
            return SlotOutcome::NotWanted;
        };
        let Some(held) = slot::read(image, address) else {
            return SlotOutcome::LeftAlone;
        };
        if held == 0 {
            return SlotOutcome::NotWanted;
        }
        if entry_at(function, held).is_some() {
            return SlotOutcome::Ours;
        }
        if !self.is_code(held) {
            return SlotOutcome::NotRelocated;
        }
        let Some(real) = self.real_function(place, function, held) else {
            book.left_alone.unresolved += 1;
            return SlotOutcome::LeftAlone;
        };
        let target = self.target_at(real);
        let is_inner =
            function.has_array_form() && self.owners.get(place) == Some(&Owner::CxxRuntime);
        let variant = if is_inner {
            targets::inner_variant_for(function, target)
        } else {
            targets::variant_for(function, target)
        };
        let Some(variant) = variant else {
            book.left_alone.without_variant += 1;
            return SlotOutcome::LeftAlone;
        };
        if !self.open(image, address, opened) {
            book.left_alone.protected += 1;
            if matches!(function.role(), Role::Release | Role::Resize) {
                targets::trust_no_standard_function();
            }
            return SlotOutcome::LeftAlone;
        }
        if !slot::exchange(image, address, held, entry_address(function, variant)) {
            return SlotOutcome::BoundMeanwhile;
        }
        // In the place of a stub that has ld.so bind the slot the function is put back. A thread that
        // ran into the stub would bind the slot after the next start, and take our entry away.
        let note = PatchedSlot {
            address,
            original: if is_bound_late { real } else { held },
            function,
            variant,
        };
        let this_pass = book.pass_count;
        if let Some(known) = book.known(image) {
            known.note(note);
            let is_late = known.met_in != this_pass;
            book.late_slot_count += u64::from(is_late);
        }
        SlotOutcome::Ours
    }

    /// Rewrites once more what ld.so has bound since: on a thread that had run into the stub just
    /// before it was replaced.
    pub(super) fn rewrite_bound(&self, book: &mut Book) {
        let this_pass = book.pass_count;
        for image in self.images {
            let Some(known) = book.known(image) else {
                continue;
            };
            let is_late = known.met_in != this_pass;
            let count = self.exchange(image, &known.slots, |note| {
                (note.original, entry_address(note.function, note.variant))
            });
            book.late_slot_count += if is_late { count } else { 0 };
        }
    }

    /// Puts back what every slot held, and forgets it.
    pub(super) fn restore(&self, book: &mut Book) {
        for image in self.images {
            if let Some(known) = book.known(image) {
                self.exchange(image, &known.slots, |note| {
                    (entry_address(note.function, note.variant), note.original)
                });
            }
        }
        book.images.clear();
    }

    /// Stores in each slot the second of what `change` gives, where it holds the first. Returns how often.
    fn exchange(
        &self,
        image: &Image<'_>,
        notes: &[PatchedSlot],
        change: impl Fn(&PatchedSlot) -> (usize, usize),
    ) -> u64 {
        let mut opened = None;
        let mut count = 0;
        for note in notes {
            let (held, new) = change(note);
            if slot::read(image, note.address) == Some(held)
                && self.open(image, note.address, &mut opened)
            {
                count += u64::from(slot::exchange(image, note.address, held, new));
            }
        }
        count
    }

    /// Sees to it that a slot can be written.
    fn open(&self, image: &Image<'_>, address: usize, opened: &mut Option<Opened>) -> bool {
        if opened
            .as_ref()
            .is_some_and(|opened| opened.contains(address))
        {
            return true;
        }
        let Some(mapping) = self.mappings.at(address) else {
            return false;
        };
        if mapping.permissions.write {
            return true;
        }
        let relro = image.relro_pages(PAGE);
        let whole =
            relro.contains(address) && mapping.range.covers(relro.start, relro.end - relro.start);
        let page = address & !(PAGE - 1);
        let range = if whole {
            relro
        } else {
            Range {
                start: page,
                end: page + PAGE,
            }
        };
        *opened = Opened::new(range, mapping.permissions);
        opened.is_some()
    }
}

/// The function and slot of a relocation that concerns us.
fn wanted(image: &Image<'_>, entry: &Relocation) -> Option<(Function, usize)> {
    let relevant = match entry.kind() {
        relocation::JUMP_SLOT | relocation::GLOBAL_DATA => true,
        // A pointer beyond the start of a function is not a call.
        relocation::POINTER => entry.addend == 0,
        _ => false,
    };
    if !relevant || entry.symbol() == 0 {
        return None;
    }
    let symbol = image.symbol(entry.symbol())?;
    let function = Function::named(image.symbol_name(&symbol)?)?;
    if !function.is_received_from(image.file_name()) {
        return None;
    }
    Some((function, image.base().wrapping_add(entry.offset)))
}
