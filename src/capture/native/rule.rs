//! How to get from one frame to its caller's: one word for each place in code.
//!
//! Nearly every place in compiled code has the same kind of rule: the caller's stack pointer is
//! `rsp` or `rbp` plus a constant, the return address lies just below it, and `rbp` is untouched or
//! saved at a constant distance. Two more kinds cover the rest of what calls: frames that align
//! their stack, and those that the kernel makes for signal handlers. Anything else is
//! [`Rule::UNKNOWN`], where a stack ends.

use super::registers::Registers;

/// The rule of one place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule(u64);

/// Every rule has it, so that none is zero.
const PRESENT: u64 = 1 << 63;
/// The base is `rbp` and not `rsp`.
const FROM_FRAME_POINTER: u64 = 1 << 0;
/// `rbp` was saved in the frame.
const SAVES_FRAME_POINTER: u64 = 1 << 1;
/// Not the usual kind: see [`SIGNAL`] and [`DEREFERENCED`].
const UNUSUAL: u64 = 1 << 2;
/// The frame has no caller.
const OUTERMOST: u64 = 1 << 3;
/// The frame has a caller, but nothing says where.
const LOST: u64 = 1 << 4;
const OWNER_SHIFT: u32 = 5;
const OWNER_MASK: u64 = 3 << OWNER_SHIFT;
const BASE_SHIFT: u32 = 8;
const SAVED_SHIFT: u32 = 32;
const OFFSET_BITS: u32 = 24;
/// Of an unusual rule: the frame is one that the kernel made to call a signal handler.
const SIGNAL: u64 = 1 << 56;
/// Of an unusual rule: the base is kept in memory, where the usual rule has the base itself.
const DEREFERENCED: u64 = 1 << 57;
/// Of an unusual rule: where `rbp` was saved is counted from `rbp` and not from the base.
const SAVED_AT_FRAME_POINTER: u64 = 1 << 58;
/// Of an unusual rule: what is added to the base from memory, in words.
const ADDED_SHIFT: u32 = 59;
const ADDED_MAX: i64 = 15;

/// Where the kernel saves the registers of what a signal interrupted, from the handler's `rsp`
/// after its return: `ucontext_t` as the kernel defines it for x86-64.
const SIGNAL_FRAME_POINTER: usize = 40 + 10 * 8;
const SIGNAL_STACK_POINTER: usize = 40 + 15 * 8;
const SIGNAL_INSTRUCTION: usize = 40 + 16 * 8;

/// Whose code a place is in, as far as stacks care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub(super) enum CodeOwner {
    /// The program's, or a library's.
    Program = 0,
    /// The Python interpreter's, or that of its foreign-function modules.
    Interpreter = 1,
    /// libffi's, which libraries use too.
    ForeignInterface = 2,
    /// This library's.
    Ourselves = 3,
}

/// A register that a rule can count from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Base {
    /// `rsp`
    StackPointer,
    /// `rbp`
    FramePointer,
}

/// What a frame does with `rbp`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SavedFramePointer {
    /// Nothing.
    Untouched,
    /// Saves it, this many bytes from the caller's stack pointer.
    At(i64),
    /// Saves it, this many bytes from where `rbp` points.
    AtFramePointer(i64),
}

impl Rule {
    /// Nothing says where the caller is.
    pub(super) const UNKNOWN: Self = Self(PRESENT | LOST);
    /// There is no caller: the thread or the program begins here.
    pub(super) const OUTERMOST: Self = Self(PRESENT | OUTERMOST);
    /// The kernel called a signal handler.
    pub(super) const SIGNAL: Self = Self(PRESENT | UNUSUAL | SIGNAL);

    /// The usual rule. `None` when an offset is too large to be believed.
    pub(super) fn usual(base: Base, offset: i64, saved: SavedFramePointer) -> Option<Self> {
        let saved = saved_bits(saved)?;
        let unusual = if saved & SAVED_AT_FRAME_POINTER == 0 {
            0
        } else {
            UNUSUAL
        };
        Some(Self(
            PRESENT | unusual | base_bits(base) | offset_bits(offset, BASE_SHIFT)? | saved,
        ))
    }

    /// The caller's stack pointer is `added` more than the word at `offset` from the base.
    pub(super) fn dereferenced(
        base: Base,
        offset: i64,
        added: i64,
        saved: SavedFramePointer,
    ) -> Option<Self> {
        let words = added / 8;
        if added % 8 != 0 || !(0..=ADDED_MAX).contains(&words) {
            return None;
        }
        let rule = Self::usual(base, offset, saved)?;
        let added = words.cast_unsigned() << ADDED_SHIFT;
        Some(Self(rule.0 | UNUSUAL | DEREFERENCED | added))
    }

    /// The same rule in code of `owner`.
    pub(super) fn owned_by(self, owner: CodeOwner) -> Self {
        Self(self.0 & !OWNER_MASK | (owner as u64) << OWNER_SHIFT)
    }

    /// The rule as a word that is not zero.
    #[inline]
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// The rule of a word that [`Self::bits`] gave; `None` for zero.
    #[inline]
    pub(super) const fn from_bits(bits: u64) -> Option<Self> {
        if bits & PRESENT == 0 {
            None
        } else {
            Some(Self(bits))
        }
    }

    /// Whether the base, or anything else but where `rbp` was saved, is counted from `rbp`.
    #[inline]
    pub(super) const fn needs_frame_pointer(self) -> bool {
        self.0 & (FROM_FRAME_POINTER | UNUSUAL) != 0
    }

    /// Whether a word that is read at `place` is only the saved `rbp`.
    #[inline]
    pub(super) const fn reads_frame_pointer_at(self, place: usize, caller: Registers) -> bool {
        self.0 & UNUSUAL == 0 && place.wrapping_add(8) != caller.stack_pointer
    }

    /// Whether the frame is not the program's: the interpreter's, libffi's, ours.
    #[inline]
    pub(super) const fn is_internal(self) -> bool {
        self.0 & OWNER_MASK != 0
    }

    /// Whose code it is.
    pub(super) const fn owner(self) -> CodeOwner {
        match (self.0 & OWNER_MASK) >> OWNER_SHIFT {
            1 => CodeOwner::Interpreter,
            2 => CodeOwner::ForeignInterface,
            3 => CodeOwner::Ourselves,
            _ => CodeOwner::Program,
        }
    }

    /// Whether the frame is where the thread or the program begins.
    pub(super) const fn is_outermost(self) -> bool {
        self.0 & OUTERMOST != 0
    }

    /// The caller's registers; `None` at the end of the stack, and when `read` refuses or the
    /// result cannot be right. `read` gives the word of the stack at an address.
    #[inline]
    pub(super) fn caller(
        self,
        frame: Registers,
        mut read: impl FnMut(usize) -> Option<usize>,
    ) -> Option<Registers> {
        if self.0 & (UNUSUAL | OUTERMOST | LOST) != 0 {
            return self.unusual_caller(frame, &mut read);
        }
        let base = if self.0 & FROM_FRAME_POINTER == 0 {
            frame.stack_pointer
        } else {
            frame.frame_pointer
        };
        let stack_pointer = base.wrapping_add_signed(self.offset(BASE_SHIFT));
        if stack_pointer <= frame.stack_pointer {
            return None;
        }
        let frame_pointer = if self.0 & SAVES_FRAME_POINTER == 0 {
            frame.frame_pointer
        } else {
            read(stack_pointer.wrapping_add_signed(self.offset(SAVED_SHIFT)))?
        };
        Some(Registers {
            return_address: read(stack_pointer.wrapping_sub(8))?,
            stack_pointer,
            frame_pointer,
        })
    }

    #[cold]
    #[inline(never)]
    fn unusual_caller(
        self,
        frame: Registers,
        read: &mut dyn FnMut(usize) -> Option<usize>,
    ) -> Option<Registers> {
        if self.0 & (OUTERMOST | LOST) != 0 {
            return None;
        }
        if self.0 & SIGNAL != 0 {
            // The handler may have run on a stack of its own: the interrupted frame can be
            // anywhere, and was interrupted in the middle.
            let at = |offset| frame.stack_pointer.wrapping_add(offset);
            return Some(Registers {
                return_address: read(at(SIGNAL_INSTRUCTION))?.checked_add(1)?,
                stack_pointer: read(at(SIGNAL_STACK_POINTER))?,
                frame_pointer: read(at(SIGNAL_FRAME_POINTER))?,
            });
        }
        let base = if self.0 & FROM_FRAME_POINTER == 0 {
            frame.stack_pointer
        } else {
            frame.frame_pointer
        };
        let mut stack_pointer = base.wrapping_add_signed(self.offset(BASE_SHIFT));
        if self.0 & DEREFERENCED != 0 {
            let added = usize::try_from((self.0 >> ADDED_SHIFT) & 15).ok()? * 8;
            stack_pointer = read(stack_pointer)?.wrapping_add(added);
        }
        if stack_pointer <= frame.stack_pointer {
            return None;
        }
        let frame_pointer = if self.0 & SAVES_FRAME_POINTER == 0 {
            frame.frame_pointer
        } else {
            let from = if self.0 & SAVED_AT_FRAME_POINTER == 0 {
                stack_pointer
            } else {
                frame.frame_pointer
            };
            read(from.wrapping_add_signed(self.offset(SAVED_SHIFT)))?
        };
        Some(Registers {
            return_address: read(stack_pointer.wrapping_sub(8))?,
            stack_pointer,
            frame_pointer,
        })
    }

    #[inline]
    const fn offset(self, shift: u32) -> isize {
        const UNUSED: u32 = u64::BITS - OFFSET_BITS;
        ((self.0 << (UNUSED - shift)).cast_signed() >> UNUSED) as isize
    }
}

fn base_bits(base: Base) -> u64 {
    match base {
        Base::StackPointer => 0,
        Base::FramePointer => FROM_FRAME_POINTER,
    }
}

fn saved_bits(saved: SavedFramePointer) -> Option<u64> {
    Some(match saved {
        SavedFramePointer::Untouched => 0,
        SavedFramePointer::At(offset) => SAVES_FRAME_POINTER | offset_bits(offset, SAVED_SHIFT)?,
        SavedFramePointer::AtFramePointer(offset) => {
            SAVES_FRAME_POINTER | SAVED_AT_FRAME_POINTER | offset_bits(offset, SAVED_SHIFT)?
        }
    })
}

fn offset_bits(offset: i64, shift: u32) -> Option<u64> {
    const LIMIT: i64 = 1 << (OFFSET_BITS - 1);
    let mask = (1 << OFFSET_BITS) - 1;
    (-LIMIT..LIMIT)
        .contains(&offset)
        .then(|| (offset.cast_unsigned() & mask) << shift)
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Rule")
            .field("bits", &format_args!("{:#x}", self.0))
            .field("base", &self.offset(BASE_SHIFT))
            .field("saved", &self.offset(SAVED_SHIFT))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Registers = Registers {
        return_address: 0x40_0000,
        stack_pointer: 0x1000,
        frame_pointer: 0x1080,
    };

    /// A stack whose words are their own addresses.
    fn itself(address: usize) -> Option<usize> {
        (0x1000..0x2000).contains(&address).then_some(address)
    }

    #[test]
    fn the_usual_rules_count_from_either_register() {
        let rule = Rule::usual(Base::StackPointer, 32, SavedFramePointer::Untouched);
        let caller = Registers {
            return_address: 0x1018,
            stack_pointer: 0x1020,
            frame_pointer: 0x1080,
        };
        assert_eq!(rule.expect("small").caller(FRAME, itself), Some(caller));
        let rule = Rule::usual(Base::FramePointer, 16, SavedFramePointer::At(-16));
        let caller = Registers {
            return_address: 0x1088,
            stack_pointer: 0x1090,
            frame_pointer: 0x1080,
        };
        assert_eq!(rule.expect("small").caller(FRAME, itself), Some(caller));
    }

    #[test]
    fn a_frame_that_aligns_its_stack_keeps_the_base_in_memory() {
        let saved = SavedFramePointer::AtFramePointer(0);
        let rule = Rule::dereferenced(Base::FramePointer, -8, 8, saved).expect("small");
        let caller = Registers {
            return_address: 0x1078,
            stack_pointer: 0x1080,
            frame_pointer: 0x1080,
        };
        assert_eq!(rule.caller(FRAME, itself), Some(caller));
    }

    #[test]
    fn a_signal_frame_gives_what_was_interrupted() {
        let words = |address: usize| match address {
            0x10a8 => Some(0x77_0000),
            0x10a0 => Some(0x500),
            0x1078 => Some(0x600),
            _ => None,
        };
        let interrupted = Registers {
            return_address: 0x77_0001,
            stack_pointer: 0x500,
            frame_pointer: 0x600,
        };
        assert_eq!(Rule::SIGNAL.caller(FRAME, words), Some(interrupted));
    }

    #[test]
    fn a_stack_ends_where_it_cannot_go_on() {
        assert_eq!(Rule::OUTERMOST.caller(FRAME, itself), None);
        assert_eq!(Rule::UNKNOWN.caller(FRAME, itself), None);
        let standing = Rule::usual(Base::StackPointer, 0, SavedFramePointer::Untouched);
        assert_eq!(standing.expect("small").caller(FRAME, itself), None);
        let outside = Rule::usual(Base::StackPointer, 0x1008, SavedFramePointer::Untouched);
        assert_eq!(outside.expect("small").caller(FRAME, |_| None), None);
    }

    #[test]
    fn owners_do_not_change_a_rule_and_too_large_offsets_make_none() {
        let rule = Rule::usual(Base::FramePointer, -8, SavedFramePointer::At(-24)).expect("small");
        let owned = rule.owned_by(CodeOwner::ForeignInterface);
        assert_eq!(owned.owner(), CodeOwner::ForeignInterface);
        assert!(owned.is_internal() && !rule.is_internal());
        assert_eq!(owned.owned_by(CodeOwner::Program), rule);
        assert_eq!(Rule::from_bits(owned.bits()), Some(owned));
        assert_eq!(Rule::from_bits(0), None);
        let large = 1 << 23;
        assert!(Rule::usual(Base::StackPointer, large, SavedFramePointer::Untouched).is_none());
        assert!(
            Rule::usual(Base::StackPointer, large - 8, SavedFramePointer::At(-large)).is_some()
        );
    }
}
