//! A few words of state for each thread, read in one instruction.
//!
//! On x86-64 Linux the block is an initial-exec TLS symbol written by hand: 1.1 ns on stable Rust,
//! against 2.4 ns for `thread_local!`, which in a shared object calls `__tls_get_addr`. It takes
//! 128 bytes of the static TLS surplus that glibc keeps for objects loaded later. Elsewhere
//! `thread_local!` gives the same face. Every word starts as zero in a new thread.

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(any(loom, miri)))))]
pub use portable::{get, set, thread_pointer};
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(any(loom, miri))))]
pub use static_tls::{get, set, thread_pointer};

/// What each word holds; the layer that owns a word gives it a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Word {
    /// Nonzero while our own code runs on this thread ([`super::reentry`]).
    Reentry = 0,
    /// This thread's number in the ledger (`ledger::threads`).
    Thread = 1,
    /// The foreign function being executed (`capture::foreign`).
    ForeignFunction = 2,
    /// The sequence number of the foreign call in progress (`capture::foreign`).
    ForeignSequence = 3,
    /// The stack pointer at which the foreign call began (`capture::foreign`).
    ForeignStackPointer = 4,
    /// Nonzero while a public function of another family is on the stack (`intercept`).
    OuterFunction = 5,
    /// This thread's capture cache (`capture`).
    CaptureCache = 6,
    /// The origin that Python code supplied for the next event (`capture::python`).
    SuppliedOrigin = 7,
    /// Where the notes on the foreign call in progress lie (`intercept`).
    ForeignNotes = 8,
    /// The end of this thread's stack, once somebody asked for it (`intercept`).
    StackTop = 9,
    /// Where the return address of a function that hands its memory over lies (`intercept`).
    HandOverFrame = 10,
    /// That return address (`intercept`).
    HandOverReturn = 11,
    /// The beginning of this thread's stack, once somebody asked for it (`intercept`).
    StackBottom = 12,
    /// What the stack held at `ForeignStackPointer` when the foreign call began (`intercept`).
    ForeignReturn = 13,
    /// Nonzero while the stack under this thread's Python frames is exchanged (`capture::python`).
    StackSwitch = 14,
    /// The interpreter's state of the thread that made the foreign call (`capture::foreign`).
    ForeignThreadState = 15,
}

const WORD_COUNT: usize = 16;

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(any(loom, miri))))]
mod static_tls {
    #![expect(
        unsafe_code,
        reason = "an initial-exec TLS symbol needs assembly on stable Rust"
    )]
    #![expect(
        clippy::inline_always,
        reason = "three instructions on the path of every allocation"
    )]

    use super::{WORD_COUNT, Word};

    core::arch::global_asm!(
        ".section .tbss.heapledger,\"awT\",@nobits",
        ".globl heapledger_thread_words",
        ".hidden heapledger_thread_words",
        ".type heapledger_thread_words,@object",
        ".size heapledger_thread_words,128",
        ".balign 64",
        "heapledger_thread_words:",
        ".zero 128",
        ".text",
    );

    const _: () = assert!(
        WORD_COUNT * size_of::<usize>() == 128,
        "the assembly above reserves it"
    );

    #[inline(always)]
    fn words() -> *mut usize {
        let words: *mut usize;
        // SAFETY: fs:[0] holds the thread pointer on x86-64 Linux, and the GOT entry holds the
        // symbol's fixed distance from it; the sum is this thread's copy of the block.
        unsafe {
            core::arch::asm!(
                "mov {words}, qword ptr fs:[0]",
                "add {words}, qword ptr [rip + heapledger_thread_words@GOTTPOFF]",
                words = out(reg) words,
                options(pure, nomem, nostack),
            );
        }
        words
    }

    /// The address of this thread's control block, which tells threads apart.
    #[must_use]
    pub fn thread_pointer() -> Option<usize> {
        let place: usize;
        // SAFETY: fs:[0] holds the thread pointer on x86-64 Linux; it is read and nothing else.
        unsafe {
            core::arch::asm!(
                "mov {place}, qword ptr fs:[0]",
                place = out(reg) place,
                options(pure, nomem, nostack),
            );
        }
        Some(place)
    }

    /// Reads this thread's word.
    #[inline(always)]
    #[must_use]
    pub fn get(word: Word) -> usize {
        // SAFETY: a `Word` is below `WORD_COUNT`, so this stays inside the block.
        let place = unsafe { words().add(word as usize) };
        // SAFETY: the block belongs to this thread alone; volatile, because a signal handler on
        // this thread may write it between two reads.
        unsafe { place.read_volatile() }
    }

    /// Writes this thread's word.
    #[inline(always)]
    pub fn set(word: Word, value: usize) {
        // SAFETY: as in `get`.
        let place = unsafe { words().add(word as usize) };
        // SAFETY: as in `get`; no reference to the block exists anywhere.
        unsafe { place.write_volatile(value) };
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(any(loom, miri)))))]
mod portable {
    use super::{WORD_COUNT, Word};
    use std::cell::Cell;

    thread_local! {
        static WORDS: [Cell<usize>; WORD_COUNT] = const { [const { Cell::new(0) }; WORD_COUNT] };
    }

    /// The address of this thread's control block: not known here.
    #[must_use]
    pub fn thread_pointer() -> Option<usize> {
        None
    }

    /// Reads this thread's word; zero while the thread is being torn down.
    #[must_use]
    pub fn get(word: Word) -> usize {
        WORDS
            .try_with(|words| words[word as usize].get())
            .unwrap_or(0)
    }

    /// Writes this thread's word; forgotten while the thread is being torn down.
    pub fn set(word: Word, value: usize) {
        let _ = WORDS.try_with(|words| words[word as usize].set(value));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_own_words_and_they_start_at_zero() {
        set(Word::SuppliedOrigin, 41);
        let other = std::thread::spawn(|| {
            let before = get(Word::SuppliedOrigin);
            set(Word::SuppliedOrigin, 1);
            (before, get(Word::SuppliedOrigin))
        });
        assert_eq!(other.join().expect("the thread returns"), (0, 1));
        assert_eq!(get(Word::SuppliedOrigin), 41);
        set(Word::SuppliedOrigin, 0);
        assert_eq!(
            get(Word::CaptureCache),
            0,
            "neighbouring words are not touched"
        );
    }
}
