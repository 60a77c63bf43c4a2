//! The first instructions of every intercepted call.
//!
//! An entry adds to the arguments of the call: the place of the return address, the caller's frame
//! pointer (for unwinding) and the variant, and jumps on: the caller's return address stays where it is, so unwinding and
//! exceptions see the call as it was made. Entries are never exported: the slots that hold them
//! are written by hand, and our own calls to these functions go straight to the real ones.

#![expect(unsafe_code, reason = "naked functions")]
#![expect(clippy::inline_always, reason = "two loads on the path of every call")]

use std::arch::naked_asm;

use super::functions::{FUNCTION_COUNT, Function, for_each_function};
use super::targets::{TARGETS, VARIANT_COUNT, Variant};
use crate::capture::Registers;
use crate::memory::FrameAddress;

/// An entry: only ever called through a slot, with the real function's arguments.
pub(super) type Entry = unsafe extern "C-unwind" fn();

/// Where a call came from: the place of the return address on the caller's stack, and the caller's
/// frame pointer. Passed in two registers.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Frame {
    place: *const usize,
    frame_pointer: usize,
}

/// The same of a call with four arguments, for which one register is left.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct FramePlace(*const usize);

impl FramePlace {
    /// The frame, without its frame pointer.
    #[inline(always)]
    pub(super) fn frame(self) -> Frame {
        Frame {
            place: self.0,
            frame_pointer: 0,
        }
    }
}

impl Frame {
    /// The return address: who called.
    #[inline(always)]
    pub(super) fn caller(self) -> FrameAddress {
        // SAFETY: an entry passed its own stack pointer, where the call that reached it had left
        // the return address; it stays there until the intercepted function returns.
        FrameAddress::from_return_address(unsafe { *self.place })
    }

    /// The stack pointer at the call: where the return address lies.
    #[inline(always)]
    pub(super) fn stack_pointer(self) -> usize {
        self.place.addr()
    }

    /// Where unwinding begins: the caller as it goes on when the call has returned.
    #[inline(always)]
    pub(super) fn registers(self) -> Registers {
        Registers {
            return_address: self.caller().return_address(),
            stack_pointer: self.stack_pointer() + size_of::<usize>(),
            frame_pointer: self.frame_pointer,
        }
    }

    /// A place on the stack where no call was received: it can only be compared with others.
    pub(super) fn at(stack_pointer: usize) -> Self {
        Self {
            place: std::ptr::without_provenance(stack_pointer),
            frame_pointer: 0,
        }
    }

    /// A frame made of a place that holds an address, for tests.
    #[cfg(test)]
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the place is what matters"
    )]
    pub(super) fn of_place(place: &usize) -> Self {
        Self {
            place,
            frame_pointer: 0,
        }
    }
}

macro_rules! body {
    (one, $place:ident, $variant:ident, $ours:path) => {
        naked_asm!(".cfi_startproc", "endbr64", "mov rsi, rsp", "mov rdx, rbp",
            "mov ecx, {variant}", "jmp {ours}", ".cfi_endproc", variant = const $variant, ours = sym $ours)
    };
    (two, $place:ident, $variant:ident, $ours:path) => {
        naked_asm!(".cfi_startproc", "endbr64", "mov rdx, rsp", "mov rcx, rbp",
            "mov r8d, {variant}", "jmp {ours}", ".cfi_endproc", variant = const $variant, ours = sym $ours)
    };
    (three, $place:ident, $variant:ident, $ours:path) => {
        naked_asm!(".cfi_startproc", "endbr64", "mov rcx, rsp", "mov r8, rbp",
            "mov r9d, {variant}", "jmp {ours}", ".cfi_endproc", variant = const $variant, ours = sym $ours)
    };
    (four, $place:ident, $variant:ident, $ours:path) => {
        naked_asm!(".cfi_startproc", "endbr64", "mov r8, rsp", "mov r9d, {variant}", "jmp {ours}",
            ".cfi_endproc", variant = const $variant, ours = sym $ours)
    };
    // Notes where the call came from in two thread-local words and goes straight on to the real
    // function: no frame of ours, so variable arguments, exceptions and longjmp need no care. r10
    // and r11 are free at a call; rax is not, it counts the vector registers of variable arguments.
    (hand_over, $place:ident, $variant:ident, $ours:path) => {
        naked_asm!(".cfi_startproc", "endbr64",
            "mov r10, qword ptr fs:[0]",
            "add r10, qword ptr [rip + heapledger_thread_words@GOTTPOFF]",
            "mov qword ptr [r10 + {frame}], rsp",
            "mov r11, qword ptr [rsp]",
            "mov qword ptr [r10 + {return_address}], r11",
            "mov r11, qword ptr [rip + {targets} + {offset}]",
            "jmp r11",
            ".cfi_endproc",
            frame = const crate::memory::thread_local::Word::HandOverFrame as usize * 8,
            return_address = const crate::memory::thread_local::Word::HandOverReturn as usize * 8,
            targets = sym TARGETS,
            offset = const (Function::$place as usize * VARIANT_COUNT + $variant) * 8)
    };
    // Asks our function for an answer; without one goes on to the real function with the caller's
    // return address in place: RTLD_NEXT and RTLD_DEFAULT mean something else for each caller.
    (lookup, $place:ident, $variant:ident, $ours:path) => {
        naked_asm!(".cfi_startproc", "endbr64",
            "mov rdx, rsp",
            "push rdi", ".cfi_adjust_cfa_offset 8",
            "push rsi", ".cfi_adjust_cfa_offset 8",
            "sub rsp, 8", ".cfi_adjust_cfa_offset 8",
            "mov rcx, rbp",
            "mov r8d, {variant}",
            "call {ours}",
            "add rsp, 8", ".cfi_adjust_cfa_offset -8",
            "pop rsi", ".cfi_adjust_cfa_offset -8",
            "pop rdi", ".cfi_adjust_cfa_offset -8",
            "test rax, rax",
            "jnz 2f",
            "mov r11, qword ptr [rip + {targets} + {offset}]",
            "jmp r11",
            "2:", "ret",
            ".cfi_endproc",
            variant = const $variant, ours = sym $ours, targets = sym TARGETS,
            offset = const (Function::$place as usize * VARIANT_COUNT + $variant) * 8)
    };
}

macro_rules! entries {
    ($($name:ident, $symbol:literal, $family:ident, $role:ident, $shape:ident, $ours:path;)*) => {
        $(
            #[expect(non_snake_case, reason = "named after its row")]
            mod $name {
                use super::*;

                /// # Safety
                /// * Reached only by a call meant for the real function, with its arguments.
                #[unsafe(naked)]
                pub(super) unsafe extern "C-unwind" fn entry<const VARIANT: usize>() {
                    body!($shape, $name, VARIANT, $ours)
                }
            }
        )*

        /// All entries, by function and variant.
        static ENTRIES: [[Entry; VARIANT_COUNT]; FUNCTION_COUNT] = [$([
            $name::entry::<0>, $name::entry::<1>, $name::entry::<2>, $name::entry::<3>,
            $name::entry::<4>, $name::entry::<5>, $name::entry::<6>, $name::entry::<7>,
        ]),*];
    };
}
for_each_function!(entries);

/// The address of an entry: what goes into a slot.
pub(super) fn entry_address(function: Function, variant: Variant) -> usize {
    ENTRIES[function as usize][variant.0 & (VARIANT_COUNT - 1)] as *const () as usize
}

/// Whether an address in this library is an entry of any function.
pub(super) fn is_listed(address: usize) -> bool {
    ENTRIES
        .as_flattened()
        .iter()
        .any(|&entry| entry as *const () as usize == address)
}

/// Which entry `address` is, if it is one.
pub(super) fn entry_at(function: Function, address: usize) -> Option<Variant> {
    let row = &ENTRIES[function as usize];
    row.iter()
        .position(|&entry| entry as *const () as usize == address)
        .map(Variant)
}
