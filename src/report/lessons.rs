//! What the whole ledger teaches: how the blocks of one maker usually end.
//!
//! A leak names what was not released. The blocks that the same function gave out and that were
//! released tell who should have done it, and where.

use std::collections::{BTreeMap, HashMap};

use super::hints::UsualRelease;
use super::model::{ForeignFunction, Frame, file_name};
use crate::capture::{Capture, Maker};
use crate::ledger::{BlockRecord, StackId};

/// How the blocks on record ended, by maker.
#[derive(Debug, Default)]
pub(super) struct Lessons(HashMap<Maker, Endings>);

/// How the blocks of one maker ended.
#[derive(Debug, Default)]
struct Endings {
    block_count: u64,
    releases: HashMap<StackId, u64>,
}

/// What released blocks of a maker: how many, and where.
#[derive(Debug, Default)]
struct Releaser {
    released: u64,
    stacks: Vec<StackId>,
}

impl Lessons {
    /// Learns from every block on record, released ones included. The records of the oldest released
    /// blocks may have been reused; what they would teach is not known any more.
    pub(super) fn from_blocks(
        capture: &Capture,
        blocks: impl Iterator<Item = BlockRecord>,
    ) -> Self {
        let mut pairs: HashMap<(StackId, StackId), u64> = HashMap::new();
        for block in blocks {
            *pairs.entry((block.allocated, block.released)).or_default() += 1;
        }
        let mut lessons = Self::default();
        for ((allocated, released), count) in pairs {
            let Some(maker) = capture.maker(allocated) else {
                continue;
            };
            let endings = lessons.0.entry(maker).or_default();
            endings.block_count += count;
            if released.is_known() {
                *endings.releases.entry(released).or_default() += count;
            }
        }
        lessons
    }

    /// What usually releases the blocks allocated at `allocated`: a foreign function other than the
    /// one that allocates them, which made at least half of all releases. What releases some of them
    /// by the way, or outside any foreign call, is nothing that a program could be told to call.
    pub(super) fn usual_release(
        &self,
        capture: &Capture,
        allocated: StackId,
        frames: impl Fn(StackId) -> Vec<Frame>,
    ) -> Option<UsualRelease> {
        let endings = self.0.get(&capture.maker(allocated)?)?;
        let allocating = capture.foreign_function(allocated).map(named);
        let mut releasers: BTreeMap<ForeignFunction, Releaser> = BTreeMap::new();
        for (&released, &count) in &endings.releases {
            let called = capture.foreign_function(released).map(named);
            let Some(function) = called.filter(|called| Some(called) != allocating.as_ref()) else {
                continue;
            };
            let releaser = releasers.entry(function).or_default();
            releaser.released += count;
            releaser.stacks.push(released);
        }
        let release_count: u64 = endings.releases.values().sum();
        let (function, releaser) = releasers
            .into_iter()
            .max_by(|(one, a), (two, b)| a.released.cmp(&b.released).then(two.cmp(one)))
            .filter(|(_, most)| most.released.saturating_mul(2) >= release_count)?;
        Some(UsualRelease {
            released: releaser.released,
            total: endings.block_count,
            function,
            place: releaser.place(frames),
        })
    }
}

impl Releaser {
    /// The innermost Python line, if it is the same at every release. Frames are asked for only until
    /// a second line is met: a destructor is reached on thousands of ways.
    fn place(&self, frames: impl Fn(StackId) -> Vec<Frame>) -> Option<String> {
        let mut places = self
            .stacks
            .iter()
            .map(|&stack| python_place(&frames(stack)));
        let first = places.next()?;
        places.all(|place| place == first).then_some(first)?
    }
}

fn named(function: crate::capture::ForeignFunction) -> ForeignFunction {
    ForeignFunction {
        library: function.library,
        name: function.name,
    }
}

/// The innermost Python line of a stack.
pub(super) fn python_place(frames: &[Frame]) -> Option<String> {
    frames.iter().find_map(|frame| match frame {
        Frame::Python {
            file,
            line,
            function,
        } => Some(format!("{}:{line} in {function}", file_name(file))),
        Frame::Native { .. } => None,
    })
}
