//! Our own allocation functions: standard semantics, every block recorded.

#![expect(
    unsafe_code,
    reason = "gives blocks whose release it has won back to glibc"
)]

use super::allocate::{Allocated, Room};
use super::release::{Release, ReleaseVerdict};
use super::resize::{ResizeVerdict, Resizing};
use super::{Tracker, glibc};
use crate::capture::EventPlace;
use crate::detect::diagnose::Attempt;
use crate::ledger::record::flag;
use crate::ledger::{Epoch, FamilyId, Insertion};
use crate::memory::reentry::OurOwnWork;
use crate::memory::{Address, ByteCount};

/// The alignment every block has: what C calls `max_align_t` on this platform.
pub const NATURAL_ALIGNMENT: usize = 16;

/// What the program asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Bytes.
    pub size: usize,
    /// A power of two; [`NATURAL_ALIGNMENT`] where the program did not say.
    pub alignment: usize,
    /// Whether the bytes must be zero.
    pub zeroed: bool,
}

/// A call of one of our allocation functions, and where it came from.
#[derive(Debug)]
pub struct Explicit<'a> {
    tracker: &'a Tracker,
    place: EventPlace,
}

impl Tracker {
    /// Begins a call of one of our allocation functions.
    #[must_use]
    pub fn explicit(&self, place: EventPlace) -> Explicit<'_> {
        Explicit {
            tracker: self,
            place,
        }
    }
}

impl Explicit<'_> {
    /// Allocates and records a block. `None` with `errno` set to `ENOMEM` when there is no memory
    /// or no block can be so large (also a finding), to `EINVAL` for a bad alignment.
    #[must_use]
    pub fn allocate(&self, request: Request) -> Option<Address> {
        let _ours = OurOwnWork::begin();
        if !request.alignment.is_power_of_two() {
            glibc::set_errno(libc::EINVAL);
            return None;
        }
        let epoch = self.tracker.ledger.epoch();
        self.tracker.look_at_top(&self.place);
        let Some(room) = self.tracker.room_for(request.size) else {
            return self.refuse_size(request.size);
        };
        let guarded = if request.alignment <= NATURAL_ALIGNMENT {
            self.tracker.place_guarded(request.size)
        } else {
            None
        };
        if let Some(address) = guarded {
            let block = block_at((address, request.size), epoch, flag::GUARDED);
            if self.tracker.note_allocation(block, &self.place) == Insertion::Recorded {
                return Some(address);
            }
        }
        let again = || {
            let helped = self.tracker.make_room_for_own();
            helped.then(|| allocate_real(request, room)).flatten()
        };
        let Some(address) = allocate_real(request, room).or_else(again) else {
            glibc::set_errno(libc::ENOMEM);
            return None;
        };
        let block = block_at((address, request.size), epoch, room.flags);
        if request.alignment > NATURAL_ALIGNMENT {
            self.tracker.note_allocation(block, &self.place);
            return Some(address);
        }
        let (_, address) = self
            .tracker
            .note_plain_allocation(block, request.zeroed, &self.place);
        Some(address)
    }

    /// Allocates `count` times `size` zeroed bytes; a product that overflows is a finding.
    #[must_use]
    pub fn allocate_array(&self, count: usize, size: usize) -> Option<Address> {
        match count.checked_mul(size) {
            Some(size) => self.allocate(Request {
                size,
                alignment: NATURAL_ALIGNMENT,
                zeroed: true,
            }),
            None => self.refuse_size(usize::MAX),
        }
    }

    /// Releases a block. A pointer that is not the start of one of our live blocks is a finding,
    /// and nothing is released. Null is ignored.
    pub fn release(&self, pointer: Address) {
        if pointer.is_null() {
            return;
        }
        let _ours = OurOwnWork::begin();
        let release = Release {
            pointer,
            family: FamilyId::HEAPLEDGER,
            may_withhold: true,
        };
        match self.tracker.note_release(release, self.place) {
            // SAFETY: `HEAPLEDGER` blocks come from `allocate_real`, and this call won the release.
            ReleaseVerdict::Execute => unsafe { glibc::release(pointer) },
            ReleaseVerdict::Withheld | ReleaseVerdict::Refused => {}
            ReleaseVerdict::Unknown => self.refuse_pointer(pointer, Attempt::Release),
        }
    }

    /// Resizes a block as `realloc` does: null allocates, zero releases (and gives `None`, as
    /// glibc). `None` with `errno` set when there is no memory (the block stays as it was) or the
    /// pointer is not ours (a finding).
    #[must_use]
    pub fn resize(&self, pointer: Address, size: usize) -> Option<Address> {
        if pointer.is_null() {
            let request = Request {
                size,
                alignment: NATURAL_ALIGNMENT,
                zeroed: false,
            };
            return self.allocate(request);
        }
        if size == 0 {
            self.release(pointer);
            return None;
        }
        let _ours = OurOwnWork::begin();
        self.tracker.look_at_top(&self.place);
        let Some(room) = self.tracker.room_for(size) else {
            return self.refuse_size(size);
        };
        let epoch = self.tracker.ledger.epoch();
        let resizing = Resizing {
            family: FamilyId::HEAPLEDGER,
            size,
            epoch,
            may_withhold: true,
        };
        match self.tracker.begin_resize(pointer, resizing, self.place) {
            ResizeVerdict::Proceed(resize) => {
                // SAFETY: `HEAPLEDGER` blocks come from `allocate_real`, this call won the release,
                // and the size with its redzone is not zero.
                let moved = unsafe { glibc::resize(pointer, room.byte_count) };
                let block = moved.map(|address| block_at((address, size), epoch, room.flags));
                self.tracker.finish_resize(resize, block);
                if moved.is_none() {
                    glibc::set_errno(libc::ENOMEM);
                }
                return moved;
            }
            ResizeVerdict::Move(resize) => {
                let moved = self.tracker.move_block(resize, size);
                if moved.is_none() {
                    glibc::set_errno(libc::ENOMEM);
                }
                return moved;
            }
            ResizeVerdict::Refused => {}
            ResizeVerdict::Unknown => self.refuse_pointer(pointer, Attempt::Resize),
        }
        glibc::set_errno(libc::EINVAL);
        None
    }

    #[cold]
    fn refuse_size(&self, size: usize) -> Option<Address> {
        self.tracker
            .note_impossible_size(size, FamilyId::HEAPLEDGER, self.place);
        glibc::set_errno(libc::ENOMEM);
        None
    }

    #[cold]
    fn refuse_pointer(&self, pointer: Address, attempt: fn(FamilyId) -> Attempt) {
        self.tracker
            .refuse_unknown(pointer, attempt(FamilyId::HEAPLEDGER), self.place);
    }
}

fn block_at((address, size): (Address, usize), epoch: Epoch, flags: u32) -> Allocated {
    Allocated {
        address,
        size: ByteCount::new(size),
        family: FamilyId::HEAPLEDGER,
        epoch,
        flags,
    }
}

fn allocate_real(request: Request, room: Room) -> Option<Address> {
    let Room { byte_count, .. } = room;
    if request.alignment > NATURAL_ALIGNMENT {
        let block = glibc::allocate_aligned(request.alignment, byte_count)?;
        if request.zeroed {
            // SAFETY: the block has just been allocated with this many bytes.
            unsafe { glibc::zero(block, byte_count) };
        }
        Some(block)
    } else if request.zeroed {
        glibc::allocate_zeroed(byte_count)
    } else {
        glibc::allocate(byte_count)
    }
}
