//! From one frame to the next, outward.
//!
//! A step costs two dependent loads: the rule of the place, and the return address. Rules are read
//! from the unwind information when a place is first met ([`super::unwind_table`]). Nothing here
//! locks, and nothing allocates for places met before.

use super::load_generation;
use super::loaded::Loaded;
use super::reads::{Read, Reads};
use super::registers::Registers;
use super::rule::{CodeOwner, Rule};
use super::rule_cache::RuleCache;
use super::stack_window::{self, StackWindow};
use super::unwind_table;
use super::walk_cache::{Beginning, Rest, WalkCache};
use crate::capture::foreign;
use crate::capture::hash::Hash;
use crate::memory::Address;
use crate::memory::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::memory::thread_local::{Word, get};

/// How many native frames of a stack are kept, counted from the innermost.
pub const NATIVE_FRAME_COUNT_MAX: usize = 64;
/// The same when only the frames up to the interpreter are wanted.
pub(super) const BOUNDARY_FRAME_COUNT_MAX: usize = 32;
const _: () = assert!(BOUNDARY_FRAME_COUNT_MAX <= NATIVE_FRAME_COUNT_MAX);

/// Words that a rule reads at most: of a frame made for a signal handler.
const STEP_READ_COUNT_MAX: usize = 4;

/// How near below the place where a foreign call began libffi's frames count as that call's.
/// A library that uses libffi itself has its frames further down.
const CALL_BYTE_MAX: usize = 4 << 10;

/// How much of the native stack is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(u32)]
pub enum NativeDepth {
    /// The immediate caller alone.
    Caller = 0,
    /// From the event to the interpreter; all of it on a thread without one.
    #[default]
    Boundary = 1,
    /// All of it.
    Full = 2,
}

/// How a walk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::capture) enum End {
    /// At the outermost frame, or at the boundary.
    Complete,
    /// At the limit.
    Cut,
    /// Nothing says where the next frame is.
    Lost,
}

/// The unwinder.
#[derive(Debug)]
pub(in crate::capture) struct Unwinder {
    rules: RuleCache,
    walks: WalkCache,
    depth: AtomicU32,
    /// Some code of the interpreter's; zero without one.
    interpreter: AtomicUsize,
    cut: AtomicU64,
    lost: AtomicU64,
}

impl Unwinder {
    /// An unwinder that knows no rules yet; `None` when the kernel refuses pages.
    pub(in crate::capture) fn new() -> Option<Self> {
        Some(Self {
            rules: RuleCache::new()?,
            walks: WalkCache::new()?,
            depth: AtomicU32::new(NativeDepth::default() as u32),
            interpreter: AtomicUsize::new(0),
            cut: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    /// How much of each stack is wanted.
    #[inline]
    pub(in crate::capture) fn depth(&self) -> NativeDepth {
        match self.depth.load(Ordering::Relaxed) {
            0 => NativeDepth::Caller,
            1 => NativeDepth::Boundary,
            _ => NativeDepth::Full,
        }
    }

    /// Changes how much of each stack is wanted.
    pub(in crate::capture) fn set_depth(&self, depth: NativeDepth) {
        self.depth.store(depth as u32, Ordering::Relaxed);
        load_generation::begin_new();
    }

    /// Makes the object that contains `code` the interpreter.
    pub(in crate::capture) fn set_interpreter(&self, code: Address) {
        if self.interpreter.swap(code.get(), Ordering::AcqRel) != code.get() {
            load_generation::begin_new();
        }
    }

    /// What the native stack is recognised by for as long as the load generation lasts.
    pub(in crate::capture) fn key(&self, start: Registers, depth: NativeDepth) -> u64 {
        let beginning = Beginning::of(start, depth);
        match self.walks.find(&beginning) {
            Some(walk) => walk.key(),
            None => self.walk_and_remember(&beginning, depth),
        }
    }

    /// The number of the whole stack that the native one makes together with `rest`, if it is
    /// remembered: exact, for everything that either depends on is compared.
    #[inline]
    pub(in crate::capture) fn known_stack(
        &self,
        start: Registers,
        depth: NativeDepth,
        rest: &Rest,
    ) -> Option<u32> {
        self.walks.stack(&Beginning::of(start, depth), rest)
    }

    /// Remembers the number for [`Self::known_stack`], if there is a walk to remember it with.
    pub(in crate::capture) fn remember_stack(
        &self,
        (start, depth): (Registers, NativeDepth),
        rest: &Rest,
        stack: u32,
    ) {
        if let Some(walk) = self.walks.find(&Beginning::of(start, depth)) {
            walk.remember_stack(rest, stack);
        }
    }

    #[inline(never)]
    fn walk_and_remember(&self, beginning: &Beginning, depth: NativeDepth) -> u64 {
        let mut hash = Hash::seeded(load_generation::current());
        let mut reads = Reads::new();
        self.walk(
            beginning.registers,
            depth,
            |address, _| hash = hash.with(address as u64),
            |rule, step, caller| reads.note_step(rule, step, caller),
        );
        self.walks.put(beginning, &reads, hash.get());
        hash.get()
    }

    /// Shows the return address of each frame to `visit`, with whether the frame is internal (the
    /// interpreter's, libffi's or ours).
    pub(in crate::capture) fn visit(
        &self,
        start: Registers,
        depth: NativeDepth,
        mut visit: impl FnMut(usize, bool),
    ) {
        let visit = |address, rule: Rule| visit(address, rule.is_internal());
        match self.walk(start, depth, visit, |_, _, _| ()) {
            End::Complete => {}
            End::Cut => {
                self.cut.fetch_add(1, Ordering::Relaxed);
            }
            End::Lost => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether code is the interpreter's, libffi's or ours.
    pub(in crate::capture) fn is_internal(&self, return_address: usize) -> bool {
        let generation = load_generation::current();
        let rule = self.rules.get(return_address, generation);
        rule.unwrap_or_else(|| self.find_rule(return_address, generation))
            .is_internal()
    }

    /// How many times a stack with too many frames, and one that nothing led out of, was looked at
    /// for the first time.
    pub(in crate::capture) fn cut_and_lost_counts(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.cut), count(&self.lost))
    }

    #[inline]
    fn walk(
        &self,
        start: Registers,
        depth: NativeDepth,
        mut visit: impl FnMut(usize, Rule),
        mut note_step: impl FnMut(Rule, &[Read], Registers),
    ) -> End {
        let generation = load_generation::current();
        let frame_count_max = match depth {
            NativeDepth::Full => NATIVE_FRAME_COUNT_MAX,
            NativeDepth::Caller | NativeDepth::Boundary => BOUNDARY_FRAME_COUNT_MAX,
        };
        let mut window = StackWindow::above(start.stack_pointer);
        let mut frame = start;
        for _ in 0..frame_count_max {
            let address = frame.return_address;
            let rule = match self.rules.get(address, generation) {
                Some(rule) => rule,
                None => self.find_rule(address, generation),
            };
            if rule.is_internal() && depth != NativeDepth::Full && is_boundary(rule, frame) {
                return End::Complete;
            }
            visit(address, rule);
            let (mut step, mut step_length) = ([(0, 0); STEP_READ_COUNT_MAX], 0);
            let mut read = |place| {
                let word = window.read(place)?;
                *step.get_mut(step_length)? = (place, word);
                step_length += 1;
                Some(word)
            };
            let caller = rule.caller(frame, &mut read);
            let step = step.get(..step_length).unwrap_or(&step);
            note_step(rule, step, caller.unwrap_or(frame));
            match caller {
                Some(caller) => frame = caller,
                None if rule.is_outermost() => return End::Complete,
                None => return End::Lost,
            }
            if frame.return_address == 0 {
                return End::Complete;
            }
            if rule == Rule::SIGNAL {
                window.move_to(frame.stack_pointer);
            }
        }
        End::Cut
    }

    #[cold]
    #[inline(never)]
    fn find_rule(&self, address: usize, generation: u64) -> Rule {
        if stack_window::remaining_byte_count() < RULE_STACK_BYTES {
            // Not kept: a thread with more room finds it.
            return Rule::UNKNOWN;
        }
        let place = Address::new(address.wrapping_sub(1));
        let rule = Loaded::containing(place).map_or(Rule::UNKNOWN, |loaded| {
            let interpreter = self.interpreter.load(Ordering::Acquire);
            unwind_table::rule_at(&loaded, place.get()).owned_by(owner_of(&loaded, interpreter))
        });
        self.rules.put(address, generation, rule);
        rule
    }
}

/// Stack that reading a rule may take (10 KiB in a build that is not optimised). A thread with less,
/// as one with the smallest stack that POSIX allows, does without rules that nobody has read.
const RULE_STACK_BYTES: usize = 24 << 10;

impl Beginning {
    #[inline]
    fn of(registers: Registers, depth: NativeDepth) -> Self {
        Self {
            registers,
            rules: load_generation::current() << 2 | u64::from(depth as u32),
            call: get(Word::ForeignStackPointer),
        }
    }
}

/// Whether the frame belongs to whoever made the foreign call, or to Python code.
#[cold]
fn is_boundary(rule: Rule, frame: Registers) -> bool {
    match rule.owner() {
        CodeOwner::Interpreter => true,
        CodeOwner::Program | CodeOwner::Ourselves => false,
        CodeOwner::ForeignInterface => foreign::call_in_progress().is_some_and(|call| {
            let began = call.stack_pointer.get();
            began.wrapping_sub(frame.stack_pointer) < CALL_BYTE_MAX
        }),
    }
}

/// Whose code an object is; `interpreter` is an address in the interpreter.
fn owner_of(loaded: &Loaded, interpreter: usize) -> CodeOwner {
    let name = loaded.name();
    let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
    let starts = |prefixes: &[&[u8]]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if loaded.contains(interpreter) || starts(&INTERPRETERS_MODULES) {
        CodeOwner::Interpreter
    } else if starts(&FOREIGN_INTERFACES) {
        CodeOwner::ForeignInterface
    } else if starts(&OURSELVES) {
        CodeOwner::Ourselves
    } else {
        CodeOwner::Program
    }
}

/// The beginnings of file names.
const INTERPRETERS_MODULES: [&[u8]; 2] = [b"_ctypes.", b"_cffi_backend."];
const FOREIGN_INTERFACES: [&[u8]; 1] = [b"libffi.so"];
const OURSELVES: [&[u8]; 1] = [b"libheapledger."];

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn the_depth_and_the_interpreter_are_remembered() {
        let unwinder = Unwinder::new().expect("pages");
        assert_eq!(unwinder.depth(), NativeDepth::Boundary);
        unwinder.set_depth(NativeDepth::Full);
        assert_eq!(unwinder.depth(), NativeDepth::Full);
        let before = load_generation::current();
        unwinder.set_interpreter(Address::new(0x1000));
        assert!(load_generation::current() > before);
    }

    #[test]
    fn a_stack_that_makes_no_sense_ends_at_once() {
        let unwinder = Unwinder::new().expect("pages");
        let nonsense = Registers {
            return_address: 0x1234,
            stack_pointer: 0x10,
            frame_pointer: 0x20,
        };
        let mut seen = Vec::new();
        unwinder.visit(nonsense, NativeDepth::Full, |address, _| seen.push(address));
        assert_eq!(seen, [0x1234]);
        assert_eq!(unwinder.cut_and_lost_counts(), (0, 1));
    }
}
