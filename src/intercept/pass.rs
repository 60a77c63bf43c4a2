//! One pass over the loaded objects: rewrites the slots of those that were not looked at yet.
//!
//! Runs with the book locked and the dynamic linker's list held still. Three hazards:
//! * **An object that another thread's `dlopen` is still relocating.** ld.so would add the object's
//!   base to an entry we stored, or fault on a page we closed. Such an object is left for a later
//!   pass: its RELRO pages are still writable, or a slot holds no address of code.
//! * **A slot that another thread is binding lazily.** ld.so's store may come after ours and undo
//!   it. Every slot is stored by compare-and-swap against what was looked at, and looked at again when
//!   the pass is through, and once more shortly afterwards.
//! * **A slot of an object unloaded meanwhile.** Nothing is unloaded while the list is held, and
//!   what is restored later is first checked to be the same loading of the same object.

use super::book::{Book, PatchedSlot, Progress};
use super::entry::entry_address;
use super::functions::Function;
use super::image::{Image, Range};
use super::mappings::MappingsOnDemand;
use super::owner::{KnownPlaces, Owner};
use super::page_kinds::{self, PAGE, PageKind};
use super::scope::SearchOrder;
use super::slot;
use super::targets::{self, Target};

/// How long an object with open RELRO pages counts as being relocated. Relocating takes
/// milliseconds; another tool may have left the pages open for good.
const RELOCATION_MILLISECONDS_MAX: u64 = 2_000;

/// What a pass works with.
pub(super) struct Pass<'list> {
    pub(super) images: &'list [Image<'list>],
    pub(super) owners: Vec<Owner>,
    order: SearchOrder,
    pub(super) mappings: MappingsOnDemand,
    now: u64,
}

impl<'list> Pass<'list> {
    /// Prepares a pass at a time given in milliseconds, over what `book` knows already and what is new.
    pub(super) fn new(
        images: &'list [Image<'list>],
        places: &KnownPlaces,
        book: &Book,
        now: u64,
    ) -> Self {
        let owner = |image| {
            let met = book.owner_of(image);
            met.unwrap_or_else(|| Owner::of(image, places))
        };
        Self {
            images,
            owners: images.iter().map(owner).collect(),
            order: SearchOrder::of(images),
            mappings: MappingsOnDemand::new(),
            now,
        }
    }

    /// Prepares for questions about functions, without rewriting anything. Objects that a pass has
    /// met are known by their pages: to look at all their symbols takes a millisecond.
    pub(super) fn for_lookup(images: &'list [Image<'list>], places: &KnownPlaces) -> Self {
        Self {
            images,
            owners: images
                .iter()
                .map(|image| met_owner(image).unwrap_or_else(|| Owner::of(image, places)))
                .collect(),
            order: SearchOrder::of(images),
            mappings: MappingsOnDemand::new(),
            now: 0,
        }
    }

    /// The function that `found` leads to when it is a stub of the main program, whose linkage
    /// table stands for functions everywhere when it is not position independent.
    pub(super) fn behind_stub(&self, function: Function, found: usize) -> usize {
        let holder = self.images.iter().position(|image| image.contains(found));
        if holder == Some(0) {
            self.real_function(0, function, found).unwrap_or(found)
        } else {
            found
        }
    }

    /// Makes sure that the main variant of every function stands for the definition that most of
    /// the process uses.
    pub(super) fn find_main_targets(&self) {
        for &function in Function::ALL {
            let name = function.symbol().as_bytes();
            if let Some(address) = self.order.program_definition(self.images, name) {
                let _ = targets::variant_for(function, self.target_at(address));
            }
        }
    }

    /// Rewrites the slots of every object that is new, or of all of them when `again` is set.
    /// Returns how many objects have to wait for a later pass.
    pub(super) fn run(&self, book: &mut Book, again: bool) -> usize {
        for gone in book.take_unloaded(self.images) {
            gone.ranges
                .iter()
                .for_each(|&range| page_kinds::mark(range, PageKind::Unseen));
        }
        targets::forget_unloaded(|address| self.is_code(address));
        let mut waiting_count = 0;
        for (place, image) in self.images.iter().enumerate() {
            let owner = self.owners.get(place).copied().unwrap_or(Owner::User);
            let known = book.known(image);
            if known
                .as_ref()
                .is_some_and(|known| known.progress == Progress::Done)
                && !again
            {
                continue;
            }
            if known.is_none() {
                mark_pages(image, owner);
            }
            waiting_count += usize::from(!self.visit(book, place, owner));
        }
        self.rewrite_bound(book);
        waiting_count
    }

    /// Looks at one object; `false` when it has to wait.
    fn visit(&self, book: &mut Book, place: usize, owner: Owner) -> bool {
        let Some(image) = self.images.get(place) else {
            return true;
        };
        let before = book.meet(image, owner, self.now).progress;
        let patient = match before {
            Progress::Done => false,
            Progress::BeingRelocated(since) => {
                self.now.saturating_sub(since) < RELOCATION_MILLISECONDS_MAX
            }
        };
        let settled = if !owner.is_patched() {
            true
        } else if patient && self.relro_is_open(image) {
            false
        } else {
            let complete = self.rewrite(book, place);
            complete || !patient
        };
        if settled {
            book.meet(image, owner, self.now).progress = Progress::Done;
        }
        settled
    }

    /// Whether the pages that ld.so closes after relocating are still writable.
    fn relro_is_open(&self, image: &Image<'_>) -> bool {
        let pages = image.relro_pages(PAGE);
        pages.start < pages.end
            && self
                .mappings
                .at(pages.start)
                .is_some_and(|mapping| mapping.permissions.write)
    }

    /// Whether `address` is in executable memory.
    pub(super) fn is_code(&self, address: usize) -> bool {
        self.images.iter().any(|image| image.has_code_at(address))
            || self
                .mappings
                .at(address)
                .is_some_and(|mapping| mapping.permissions.execute)
    }

    /// The function that a call through a slot of `images[place]` holding `held` ends in.
    pub(super) fn real_function(
        &self,
        place: usize,
        function: Function,
        held: usize,
    ) -> Option<usize> {
        let name = function.symbol().as_bytes();
        let holder = self.images.iter().position(|image| image.contains(held));
        let Some(holder) = holder else {
            return Some(held);
        };
        // In its own object, or in the main program (whose stub stands for the function in every
        // object when it is not position independent), an address that is not the definition is a
        // stub of the linkage table. Calling that would have ld.so bind the slot anew.
        let is_definition = self.images.get(holder)?.definition(name) == Some(held);
        let is_stub = !is_definition && (holder == place || holder == 0);
        if is_stub {
            self.order.definition(self.images, place, name)
        } else {
            Some(held)
        }
    }

    /// What is known of the function at `address`.
    pub(super) fn target_at(&self, address: usize) -> Target {
        let holder = self.images.iter().position(|image| image.contains(address));
        let owner = holder.and_then(|place| self.owners.get(place).copied());
        Target {
            address,
            standard: owner.is_some_and(Owner::is_standard),
        }
    }
}

/// Forgets objects that were unloaded and loaded again at the same place since the last pass: none of
/// their slots is as we left it, or there is none to tell by.
pub(super) fn forget_reloaded(images: &[Image<'_>], book: &mut Book) {
    for image in images {
        let is_ours = |note: &PatchedSlot| {
            let ours = entry_address(note.function, note.variant);
            slot::read(image, note.address) == Some(ours)
        };
        let known = book.known(image);
        let is_changed = known.is_some_and(|known| !known.slots.iter().any(is_ours));
        if is_changed {
            book.forget(image);
        }
    }
}

/// Whose the object is, when its code was marked by a pass.
fn met_owner(image: &Image<'_>) -> Option<Owner> {
    let mut loaded = image.loaded();
    let (code, _) = loaded.find(|(_, flags)| flags & super::elf_layout::flag::EXECUTE != 0)?;
    match page_kinds::kind_of(code.start) {
        PageKind::Image(owner) => Some(owner),
        PageKind::Unseen | PageKind::Ordinary => None,
    }
}

/// Notes whose the object's pages are. The last page of a writable segment may hold the beginning
/// of the heap as well, so it is left out unless the segment fills it.
fn mark_pages(image: &Image<'_>, owner: Owner) {
    for (range, flags) in image.loaded() {
        let end = if flags & super::elf_layout::flag::WRITE == 0 {
            range.end
        } else {
            range.end & !(PAGE - 1)
        };
        page_kinds::mark(
            Range {
                start: range.start,
                end,
            },
            PageKind::Image(owner),
        );
    }
}
