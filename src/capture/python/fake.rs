//! An interpreter of a few hundred bytes for tests: 3.12's layout, frames and code written by hand.

#![expect(
    unsafe_code,
    reason = "reads the fake memory as the real thing is read"
)]

use super::connect::Interpreter;
use super::frames::FrameReader;
use super::lifetime::DeallocSlot;
use super::offsets::{self, Offsets};
use super::status::PythonVersion;
use crate::memory::Address;
use std::cell::Cell;

/// A thread state holds the C frame's address here; the C frame begins with the innermost frame's.
const C_FRAME: usize = 56;
/// `PyUnicode` state bits: one byte a character, compact, ASCII.
const ASCII_STATE: u32 = (1 << 2) | (1 << 5) | (1 << 6);
const FIRST_TRACEABLE: i32 = 1;
/// What `owner` says.
pub(in crate::capture) const BY_THREAD: u8 = 0;
pub(in crate::capture) const BY_GENERATOR: u8 = 1;
pub(in crate::capture) const ENTRY: u8 = 3;

thread_local! {
    static THREAD_STATE: Cell<*mut u8> = const { Cell::new(std::ptr::null_mut()) };
}

unsafe extern "C" fn thread_state() -> *mut u8 {
    THREAD_STATE.get()
}

/// Stands for the interpreter's own release function of code objects.
extern "C" fn release(_code: *mut u8) {}

/// A piece of fake memory; eight bytes a word, so that every field is aligned.
#[derive(Clone, Debug)]
pub(in crate::capture) struct Memory(Box<[u64]>);

impl Memory {
    pub(in crate::capture) fn new(byte_count: usize) -> Self {
        Self(vec![0; byte_count.div_ceil(8)].into_boxed_slice())
    }

    pub(in crate::capture) fn address(&self) -> usize {
        self.0.as_ptr().expose_provenance()
    }

    /// Overwrites the bytes at `offset`.
    pub(in crate::capture) fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (place, byte) in (offset..).zip(bytes) {
            let shift = place % 8 * 8;
            let word = &mut self.0[place / 8];
            *word = *word & !(0xFF << shift) | u64::from(*byte) << shift;
        }
    }

    pub(in crate::capture) fn put_address(&mut self, offset: usize, address: usize) {
        self.put(offset, &address.to_ne_bytes());
    }
}

/// A code object with the strings it refers to.
#[derive(Debug)]
pub(in crate::capture) struct FakeCode {
    object: Memory,
    /// File name, function name, location table.
    parts: [Memory; 3],
    bytecode: usize,
}

impl FakeCode {
    /// The address of the instruction `lasti` bytes into the code.
    pub(in crate::capture) fn instruction(&self, lasti: usize) -> usize {
        self.object.address() + self.bytecode + lasti
    }

    pub(in crate::capture) fn address(&self) -> usize {
        self.object.address()
    }

    /// Another code object's content at this one's address, as after a release and a new
    /// allocation.
    pub(in crate::capture) fn replace_content(&mut self, mut other: Self) {
        self.object.0.copy_from_slice(&other.object.0);
        std::mem::swap(&mut self.parts, &mut other.parts);
    }
}

/// The interpreter: its type of code objects, one thread state, the frames of that thread.
#[derive(Debug)]
pub(in crate::capture) struct FakeInterpreter {
    offsets: Offsets,
    code_type: Memory,
    runtime: Memory,
    thread: Memory,
    c_frame: Memory,
    /// Innermost first.
    pub(in crate::capture) frames: Vec<Memory>,
}

impl FakeInterpreter {
    pub(in crate::capture) fn new() -> Self {
        let offsets = offsets::constant(12).expect("a known version");
        let mut code_type = Memory::new(128);
        code_type.put_address(
            offsets.type_dealloc,
            (release as *const ()).expose_provenance(),
        );
        let c_frame = Memory::new(16);
        let mut thread = Memory::new(64);
        thread.put_address(C_FRAME, c_frame.address());
        Self {
            offsets,
            code_type,
            runtime: Memory::new(64),
            thread,
            c_frame,
            frames: Vec::new(),
        }
    }

    /// What frames are read with.
    pub(in crate::capture) fn interpreter(&self) -> Interpreter {
        let code_type = Address::new(self.code_type.address());
        let runtime = Address::new(self.runtime.address());
        // SAFETY: everything below is laid out as these offsets say and outlives the test.
        let reader = unsafe { FrameReader::new(self.offsets, thread_state, code_type, runtime) };
        let slot = code_type.offset_by(self.offsets.type_dealloc);
        // SAFETY: the slot is an aligned word of `code_type`, which outlives the test.
        let dealloc_slot = unsafe { DeallocSlot::at(slot) };
        let version = PythonVersion::from_hex(0x030C_00F0);
        Interpreter {
            reader,
            dealloc_slot,
            version,
            free_threaded: false,
        }
    }

    /// A code object with a location table of one line for each code unit.
    pub(in crate::capture) fn code(&self, file: &str, function: &str, first_line: i32) -> FakeCode {
        const UNIT_COUNT: usize = 16;
        const ONE_UNIT_NEXT_LINE: [u8; 3] = [0x80 | 11 << 3, 0, 0];
        let fields = self.offsets.code;
        let mut table = Memory::new(self.offsets.bytes_data + UNIT_COUNT * 3);
        table.put_address(self.offsets.bytes_size, UNIT_COUNT * 3);
        table.put(
            self.offsets.bytes_data,
            &ONE_UNIT_NEXT_LINE.repeat(UNIT_COUNT),
        );
        let parts = [self.string(file), self.string(function), table];
        let mut object = Memory::new(fields.bytecode + UNIT_COUNT * 2);
        object.put_address(self.offsets.object_type, self.code_type.address());
        object.put_address(fields.file_name, parts[0].address());
        object.put_address(fields.qualified_name, parts[1].address());
        object.put_address(fields.line_table, parts[2].address());
        object.put(fields.first_line, &(first_line - 1).to_ne_bytes());
        object.put(fields.first_traceable, &FIRST_TRACEABLE.to_ne_bytes());
        FakeCode {
            object,
            parts,
            bytecode: fields.bytecode,
        }
    }

    fn string(&self, text: &str) -> Memory {
        let fields = self.offsets.string;
        let mut string = Memory::new(fields.ascii_data + text.len());
        string.put_address(fields.length, text.len());
        string.put(fields.state, &ASCII_STATE.to_ne_bytes());
        string.put(fields.ascii_data, text.as_bytes());
        string
    }

    /// Calls: a new innermost frame of `code`, at the instruction `lasti` bytes into it.
    pub(in crate::capture) fn push(&mut self, code: &FakeCode, lasti: usize, owner: u8) {
        let fields = self.offsets.frame;
        let mut frame = Memory::new(80);
        frame.put_address(fields.code, code.address());
        frame.put_address(
            fields.previous,
            self.frames.first().map_or(0, Memory::address),
        );
        frame.put_address(fields.instruction, code.instruction(lasti));
        frame.put(fields.owner, &[owner]);
        self.frames.insert(0, frame);
        self.publish();
    }

    /// Returns from the innermost frame.
    pub(in crate::capture) fn pop(&mut self) {
        self.frames.remove(0);
        self.publish();
    }

    /// Moves a frame, counted from the innermost, to another instruction.
    pub(in crate::capture) fn step(&mut self, frame: usize, code: &FakeCode, lasti: usize) {
        self.frames[frame].put_address(self.offsets.frame.instruction, code.instruction(lasti));
    }

    /// Begins finalisation, on the calling thread or on another.
    pub(in crate::capture) fn finalize(&mut self, on_this_thread: bool) {
        let thread = self.thread.address();
        let finalizing = if on_this_thread { thread } else { thread + 64 };
        self.runtime
            .put_address(self.offsets.finalizing_thread, finalizing);
    }

    /// The calling thread runs the fake frames from now on.
    fn publish(&mut self) {
        let top = self.frames.first().map_or(0, Memory::address);
        self.c_frame.put_address(self.offsets.current_frame, top);
        THREAD_STATE.set(self.thread.0.as_mut_ptr().cast());
    }
}

impl Drop for FakeInterpreter {
    fn drop(&mut self) {
        THREAD_STATE.set(std::ptr::null_mut());
    }
}
