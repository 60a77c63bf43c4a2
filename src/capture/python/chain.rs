//! One number for the whole chain of frames: what a stack that was seen before is recognised by.
//!
//! The number is a hash of the frames' instruction addresses. An instruction lies inside its code
//! object, so while the code objects live, equal addresses mean equal lines; the
//! [`super::lifetime`] of code objects is watched, and its generation is part of every key made
//! from this number.
//!
//! Three ways to the same number, the cheapest that applies:
//! 1. In a foreign call, as long as the innermost frame has not moved and no callback is being
//!    executed, the chain is the one seen before in this call.
//! 2. The thread's last chain, compared link by link. The links are taken from memory, so the
//!    processor compares several at once instead of waiting for each `previous` in turn.
//! 3. Walking the chain.

use super::frames::{FramePlace, FrameReader};
use super::thread_cache::{Link, ThreadCache};
use crate::capture::foreign::ForeignCall;
use crate::capture::hash::Hash;
use crate::capture::stack_table::PYTHON_FRAME_COUNT_MAX;

/// The number of the calling thread's chain, in this generation and foreign call; `None` when it runs no Python code.
#[inline]
pub(super) fn key(
    reader: &FrameReader,
    cache: Option<ThreadCache<'_>>,
    (generation, call): (u64, Option<ForeignCall>),
) -> Option<u64> {
    let top = reader.top()?;
    if let (Some(cache), Some(call)) = (cache, call)
        && let Some(key) = cache.call_key(call.sequence as u64, top, reader.instruction(top))
    {
        return Some(key);
    }
    Some(key_of_top(reader, cache, top, (generation, call)))
}

/// The number by the second way or the third.
#[inline(never)]
fn key_of_top(
    reader: &FrameReader,
    cache: Option<ThreadCache<'_>>,
    top: FramePlace,
    (generation, call): (u64, Option<ForeignCall>),
) -> u64 {
    let Some(cache) = cache else {
        return with_top(reader, walk(reader, top, |_| ()), top);
    };
    let key = key_of_chain(reader, cache, top, generation);
    // In a callback the innermost frame may come back to the same place by another way.
    if let Some(call) = call
        && reader.began_before(top, call.stack_pointer)
    {
        let instruction = reader.instruction(top);
        cache.remember_call(call.sequence as u64, top, instruction, key);
    }
    key
}

/// The frames that make a stack, innermost first, and whether there were more.
///
/// The innermost one and then as many as the limit allows; entry frames do not count.
#[derive(Debug)]
pub(super) struct Frames<'reader> {
    reader: &'reader FrameReader,
    next: Option<FramePlace>,
    left: usize,
}

impl<'reader> Frames<'reader> {
    /// The calling thread's frames.
    pub(super) fn of_this_thread(reader: &'reader FrameReader) -> Self {
        Self::from(reader, reader.top())
    }

    #[inline]
    fn from(reader: &'reader FrameReader, next: Option<FramePlace>) -> Self {
        Self {
            reader,
            next,
            left: PYTHON_FRAME_COUNT_MAX,
        }
    }

    /// Whether frames of Python code follow that were not visited.
    pub(super) fn is_cut(&self) -> bool {
        std::iter::successors(self.next, |&frame| self.reader.previous(frame))
            .any(|frame| !self.reader.is_entry(frame))
    }
}

impl Iterator for Frames<'_> {
    type Item = FramePlace;

    #[inline]
    fn next(&mut self) -> Option<FramePlace> {
        if self.left == 0 {
            return None;
        }
        let frame = self.next?;
        if !self.reader.is_entry(frame) {
            self.left -= 1;
        }
        self.next = self.reader.previous(frame);
        Some(frame)
    }
}

#[inline]
fn key_of_chain(
    reader: &FrameReader,
    cache: ThreadCache<'_>,
    top: FramePlace,
    generation: u64,
) -> u64 {
    let rest = match remembered_rest(reader, cache, top, generation) {
        Some(hash) => hash,
        None => walk_and_remember(reader, cache, top, generation),
    };
    let instruction = reader.instruction(top) ^ owner_bits(reader, top);
    let executable = reader.executable(top).get() as u64;
    if let Some(key) = cache.chain_key(instruction, executable) {
        return key;
    }
    let key = with_top(reader, rest, top);
    cache.remember_key(instruction, executable, key);
    key
}

/// The innermost frame goes in last: a loop that allocates on one line and releases on the next
/// changes only this one.
#[inline]
fn with_top(reader: &FrameReader, rest: u64, top: FramePlace) -> u64 {
    with_frame(reader, Hash::seeded(rest), top).get()
}

/// The hash of the remembered chain without its innermost frame, if that part of it is still the
/// calling thread's.
#[inline]
fn remembered_rest(
    reader: &FrameReader,
    cache: ThreadCache<'_>,
    top: FramePlace,
    generation: u64,
) -> Option<u64> {
    let compares_executable = reader.has_bytecode_copies();
    let mut links = cache.links(generation);
    let mut frame = top;
    if links.next()?.frame() != top.get() {
        return None;
    }
    for link in links {
        // Each link is compared with what the frame before it says, and only then followed: a
        // remembered frame may be gone.
        let Some(previous) = reader.previous(frame) else {
            return (link.frame() == Link::END.frame).then(|| cache.chain_hash());
        };
        frame = previous.if_remembered(link.frame())?;
        if reader.instruction(frame) != link.instruction() {
            return None;
        }
        if compares_executable && reader.executable(frame).get() as u64 != link.executable() {
            return None;
        }
    }
    // The remembered chain was cut here, and so is this one.
    Some(cache.chain_hash())
}

fn walk_and_remember(
    reader: &FrameReader,
    cache: ThreadCache<'_>,
    top: FramePlace,
    generation: u64,
) -> u64 {
    let mut recorder = cache.begin_chain();
    let hash = walk(reader, top, |link| recorder.push(link));
    recorder.finish(generation, hash);
    hash
}

/// Hashes all frames but the innermost, and shows each to `visit`.
#[inline]
fn walk(reader: &FrameReader, top: FramePlace, mut visit: impl FnMut(Link)) -> u64 {
    let mut hash = Hash::seeded(0);
    let mut frames = Frames::from(reader, Some(top));
    for frame in frames.by_ref() {
        visit(Link {
            frame: frame.get(),
            instruction: reader.instruction(frame),
            executable: reader.executable(frame).get() as u64,
        });
        if frame != top && !reader.is_entry(frame) {
            hash = with_frame(reader, hash, frame);
        }
    }
    if frames.next.is_none() {
        visit(Link::END);
    }
    hash.get()
}

/// Adds what a frame's line depends on.
#[inline]
fn with_frame(reader: &FrameReader, hash: Hash, frame: FramePlace) -> Hash {
    let owner = owner_bits(reader, frame);
    if !reader.has_bytecode_copies() {
        return hash.with(reader.instruction(frame) ^ owner);
    }
    with_copied_frame(reader, hash, frame, owner)
}

/// As [`with_frame`], where threads run their own copies of the bytecode.
///
/// A copy may be released before its code object is, and its place be used for another's; the
/// code object and the distance into it say the same without it.
fn with_copied_frame(reader: &FrameReader, hash: Hash, frame: FramePlace, owner: u64) -> Hash {
    let Some(code) = reader.code_object(frame) else {
        return hash.with(reader.executable(frame).get() as u64 ^ owner);
    };
    let lasti = reader.lasti(frame, code).unwrap_or(i32::MIN);
    hash.with(code.get() as u64 ^ owner)
        .with(u64::from(lasti.cast_unsigned()))
}

/// The owner decides whether a frame at its first instructions is still being set up. No address
/// reaches these bits.
#[inline]
fn owner_bits(reader: &FrameReader, frame: FramePlace) -> u64 {
    const OWNER_SHIFT: u32 = 56;
    u64::from(reader.owner(frame)) << OWNER_SHIFT
}
