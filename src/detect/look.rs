//! A look at many blocks together, at copies: which of them are intact beyond doubt.
//!
//! What is not may be damaged, unreadable, or next to something unreadable, and is for a look of its
//! own ([`super::damage::by_copy`]): so nothing is said of damage that was put right since the copy.

use super::damage;
use super::parts::{self, PART_BYTE_MAX, PART_COUNT_MAX, Part};
use crate::ledger::{BlockRecord, Ticket};
use crate::memory::pages::PAGE;
use crate::memory::peek_many::{PAGES_MAX, PeekMany, Question};

/// Blocks of one look.
pub const BLOCK_COUNT_MAX: usize = if cfg!(test) { 8 } else { 1_024 };
/// Parts of one look: most blocks have two, released ones three or four.
const ALL_PART_COUNT_MAX: usize = 2 * BLOCK_COUNT_MAX;
const _: () = assert!(ALL_PART_COUNT_MAX >= PART_COUNT_MAX);
const _: () = assert!(PART_BYTE_MAX <= PAGES_MAX * PAGE);

#[derive(Debug)]
struct Block {
    ticket: Ticket,
    record: BlockRecord,
    is_intact: bool,
}

/// The blocks that will be looked at.
#[derive(Debug)]
pub struct Look {
    blocks: Vec<Block>,
    /// Their parts, each with its block's number among them.
    parts: Vec<(usize, Part)>,
    questions: Vec<Question>,
    peek: PeekMany,
}

impl Look {
    /// Takes the memory for it; `None` when it is short.
    #[must_use]
    pub fn with_room() -> Option<Self> {
        let mut look = Self {
            blocks: Vec::new(),
            parts: Vec::new(),
            questions: Vec::new(),
            peek: PeekMany::with_room(ALL_PART_COUNT_MAX)?,
        };
        look.blocks.try_reserve_exact(BLOCK_COUNT_MAX).ok()?;
        look.parts.try_reserve_exact(ALL_PART_COUNT_MAX).ok()?;
        look.questions.try_reserve_exact(ALL_PART_COUNT_MAX).ok()?;
        Some(look)
    }

    /// Whether there may be no room for a further block: then [`Look::take`] comes first.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.blocks.len() >= BLOCK_COUNT_MAX
            || self.parts.len() + PART_COUNT_MAX > ALL_PART_COUNT_MAX
    }

    /// Adds a block.
    pub fn add(&mut self, ticket: Ticket, record: BlockRecord) {
        let number = self.blocks.len();
        for part in parts::of(&record) {
            self.questions.push(Question {
                from: part.start,
                byte_count: part.byte_count,
                asker: self.parts.len(),
            });
            self.parts.push((number, part));
        }
        self.blocks.push(Block {
            ticket,
            record,
            is_intact: true,
        });
    }

    /// Looks at all blocks, says of each whether it is intact beyond doubt, and is empty again.
    pub fn take(&mut self, mut each: impl FnMut(Ticket, &BlockRecord, bool)) {
        let (blocks, parts) = (&mut self.blocks, &self.parts);
        self.peek.ask(&mut self.questions, |asker, bytes| {
            let Some((number, part)) = parts.get(asker) else {
                return;
            };
            if let Some(block) = blocks.get_mut(*number) {
                block.is_intact &= bytes.is_some_and(|bytes| damage::is_part_intact(part, bytes));
            }
        });
        for block in &self.blocks {
            each(block.ticket, &block.record, block.is_intact);
        }
        self.blocks.clear();
        self.parts.clear();
        self.questions.clear();
    }
}
