//! What each thread remembers of its last capture.
//!
//! A fixed table with one slot for each thread, claimed at the thread's first capture. The slot
//! belongs to a thread *address* (`pthread_self`): a new thread that the system gives the same
//! address takes over the slot of the dead one, so nothing has to run at thread exit. Threads for
//! which there is no slot do without.

#![expect(
    unsafe_code,
    reason = "pthread_self is a foreign call, and a thread's slot is found by its address"
)]

use super::frames::FramePlace;
use crate::capture::hash::Hash;
use crate::memory::sync::{AtomicU64, Ordering};
use crate::memory::table::Table;
use crate::memory::thread_local::{Word, get, set};
use once_cell::race::OnceBox;

/// How many threads can remember at the same time.
const THREAD_COUNT_MAX: usize = 1_024;
/// How many slots a thread tries to claim.
const PROBE_COUNT_MAX: usize = 8;
/// How many frames of a chain are remembered, the interpreter's own entry frames included.
const LINK_COUNT_MAX: usize = 96;

const HEAD_LENGTH: usize = 12;
const WORDS_PER_LINK: usize = 3;
const SLOT_LENGTH: usize = HEAD_LENGTH + WORDS_PER_LINK * (LINK_COUNT_MAX + 1);

/// The word [`Word::CaptureCache`] of a thread for which there is no slot; else it is the address of
/// the slot, or zero before the first capture.
const NO_SLOT: usize = usize::MAX;

static CACHES: OnceBox<Option<ThreadCaches>> = OnceBox::new();

/// The slots of all threads.
#[derive(Debug)]
pub(super) struct ThreadCaches {
    words: Table<AtomicU64>,
}

const _: () = assert!(
    (Field::ChainKey as usize) < HEAD_LENGTH,
    "the fields are in the head"
);

/// The words in the head of a slot.
#[derive(Clone, Copy)]
enum Field {
    Owner = 0,
    CallSequence = 1,
    CallTop = 2,
    CallInstruction = 3,
    CallKey = 4,
    ChainGeneration = 5,
    ChainLength = 6,
    /// Of all frames but the innermost.
    ChainHash = 7,
    TopInstruction = 8,
    TopExecutable = 9,
    /// Of all frames.
    ChainKey = 10,
}

/// One thread's slot. Only that thread touches it, so plain loads and stores do.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThreadCache<'table> {
    words: &'table [AtomicU64; SLOT_LENGTH],
}

/// One frame of a chain to be remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Where the frame is; zero behind the outermost frame.
    pub(super) frame: u64,
    /// The address of its instruction.
    pub(super) instruction: u64,
    /// What it executed.
    pub(super) executable: u64,
}

impl Link {
    /// The end of a chain.
    pub(super) const END: Self = Self {
        frame: 0,
        instruction: 0,
        executable: 0,
    };
}

/// One frame of a remembered chain, read field by field as needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct RememberedLink<'table>(&'table [AtomicU64; WORDS_PER_LINK]);

impl RememberedLink<'_> {
    /// Where the frame was; zero behind the outermost frame.
    #[inline]
    pub(super) fn frame(self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    /// The address of its instruction.
    #[inline]
    pub(super) fn instruction(self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }

    /// What it executed.
    #[inline]
    pub(super) fn executable(self) -> u64 {
        self.0[2].load(Ordering::Relaxed)
    }
}

impl ThreadCaches {
    /// An empty table; `None` when the kernel refuses pages.
    fn new() -> Option<Self> {
        Some(Self {
            words: Table::new(THREAD_COUNT_MAX * SLOT_LENGTH)?,
        })
    }

    /// The calling thread's slot.
    #[inline]
    pub(super) fn mine() -> Option<ThreadCache<'static>> {
        let address = match get(Word::CaptureCache) {
            0 => return Self::claim_first(),
            NO_SLOT => return None,
            address => address,
        };
        let words = std::ptr::with_exposed_provenance(address);
        // SAFETY: `claim` stored the address of a slot in `CACHES`, which is never taken down.
        let words = unsafe { &*words };
        Some(ThreadCache { words })
    }

    #[cold]
    fn claim_first() -> Option<ThreadCache<'static>> {
        let caches = CACHES.get_or_init(|| Box::new(Self::new()));
        caches.as_ref().and_then(Self::claim)
    }

    fn slot(&self, index: usize) -> Option<ThreadCache<'_>> {
        let words = self.words.get(index * SLOT_LENGTH..)?.first_chunk()?;
        Some(ThreadCache { words })
    }

    #[cold]
    fn claim(&self) -> Option<ThreadCache<'_>> {
        // SAFETY: pthread_self has no preconditions.
        let owner = unsafe { libc::pthread_self() };
        let start = Hash::seeded(0).with(owner).get() % THREAD_COUNT_MAX as u64;
        for step in 0..PROBE_COUNT_MAX {
            let index = (usize::try_from(start).ok()? + step) % THREAD_COUNT_MAX;
            let slot = self.slot(index)?;
            let claimed = slot.field(Field::Owner).compare_exchange(
                0,
                owner,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            // A thread with our address had this slot before us: it is gone, as we have its place.
            if claimed.is_ok() || claimed == Err(owner) {
                slot.forget();
                set(Word::CaptureCache, slot.words.as_ptr().expose_provenance());
                return Some(slot);
            }
        }
        set(Word::CaptureCache, NO_SLOT);
        None
    }
}

impl<'table> ThreadCache<'table> {
    /// The key remembered for this foreign call, innermost frame and instruction.
    #[inline]
    pub(super) fn call_key(self, sequence: u64, top: FramePlace, instruction: u64) -> Option<u64> {
        let is_same = self.read(Field::CallSequence) == sequence
            && self.read(Field::CallTop) == top.get()
            && self.read(Field::CallInstruction) == instruction;
        is_same.then(|| self.read(Field::CallKey))
    }

    /// Remembers a key until the foreign call ends.
    pub(super) fn remember_call(self, sequence: u64, top: FramePlace, instruction: u64, key: u64) {
        self.write(Field::CallSequence, sequence);
        self.write(Field::CallTop, top.get());
        self.write(Field::CallInstruction, instruction);
        self.write(Field::CallKey, key);
    }

    /// The links of the chain remembered in this generation: none when there is no such chain.
    #[inline]
    pub(super) fn links(
        self,
        generation: u64,
    ) -> impl Iterator<Item = RememberedLink<'table>> + 'table {
        let is_current = self.read(Field::ChainGeneration) == generation;
        let length = if is_current {
            self.read(Field::ChainLength)
        } else {
            0
        };
        let (links, _) = self.words[HEAD_LENGTH..].as_chunks::<WORDS_PER_LINK>();
        let links = links.get(..usize::try_from(length).unwrap_or(0));
        links.unwrap_or_default().iter().map(RememberedLink)
    }

    /// The hash of the remembered chain without its innermost frame.
    #[inline]
    pub(super) fn chain_hash(self) -> u64 {
        self.read(Field::ChainHash)
    }

    /// The key of the remembered chain, if its innermost frame was at this instruction.
    #[inline]
    pub(super) fn chain_key(self, instruction: u64, executable: u64) -> Option<u64> {
        let is_same = self.read(Field::TopInstruction) == instruction
            && self.read(Field::TopExecutable) == executable;
        is_same.then(|| self.read(Field::ChainKey))
    }

    /// Remembers the key of the remembered chain with its innermost frame at this instruction.
    #[inline]
    pub(super) fn remember_key(self, instruction: u64, executable: u64, key: u64) {
        self.write(Field::TopInstruction, instruction);
        self.write(Field::TopExecutable, executable);
        self.write(Field::ChainKey, key);
    }

    /// Begins to remember another chain.
    pub(super) fn begin_chain(self) -> ChainRecorder<'table> {
        self.write(Field::ChainLength, 0);
        self.write(Field::TopInstruction, 0);
        ChainRecorder {
            cache: self,
            length: 0,
        }
    }

    fn forget(self) {
        for field in [
            Field::CallSequence,
            Field::ChainGeneration,
            Field::ChainLength,
        ] {
            self.write(field, 0);
        }
    }

    #[inline]
    fn field(self, field: Field) -> &'table AtomicU64 {
        &self.words[field as usize]
    }

    #[inline]
    fn read(self, field: Field) -> u64 {
        self.field(field).load(Ordering::Relaxed)
    }

    #[inline]
    fn write(self, field: Field, value: u64) {
        self.field(field).store(value, Ordering::Relaxed);
    }
}

/// A chain being written into a thread's slot; not found before [`Self::finish`].
#[derive(Debug)]
pub(super) struct ChainRecorder<'table> {
    cache: ThreadCache<'table>,
    length: usize,
}

impl ChainRecorder<'_> {
    /// Adds the next frame outward.
    #[inline]
    pub(super) fn push(&mut self, link: Link) {
        let start = HEAD_LENGTH + self.length * WORDS_PER_LINK;
        self.length += 1;
        if let Some(words) = self.cache.words.get(start..start + WORDS_PER_LINK) {
            words[0].store(link.frame, Ordering::Relaxed);
            words[1].store(link.instruction, Ordering::Relaxed);
            words[2].store(link.executable, Ordering::Relaxed);
        }
    }

    /// Makes the chain known under this generation, if it was not too long.
    pub(super) fn finish(self, generation: u64, hash: u64) {
        if self.length > LINK_COUNT_MAX {
            return;
        }
        self.cache.write(Field::ChainGeneration, generation);
        self.cache.write(Field::ChainHash, hash);
        self.cache.write(Field::ChainLength, self.length as u64);
    }
}
