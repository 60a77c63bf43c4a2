//! Where the interpreter keeps what a stack is read from: the layouts of `CPython` 3.11 to 3.15.
//!
//! 3.11 and 3.12 do not describe themselves, so their offsets are constants here; later versions
//! do ([`super::description`]).

/// Byte offsets of the fields that are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Offsets {
    /// In the runtime: the state of the thread that finalises the interpreter, once one does.
    pub(super) finalizing_thread: usize,
    /// In the thread state: the pointer to the evaluation's C frame, where there is one (to 3.12).
    pub(super) thread_c_frame: Option<usize>,
    /// In that C frame, or in the thread state: the innermost frame.
    pub(super) current_frame: usize,
    /// In a frame.
    pub(super) frame: FrameOffsets,
    /// In a code object.
    pub(super) code: CodeOffsets,
    /// In a string.
    pub(super) string: StringOffsets,
    /// In a bytes object: its length, its data.
    pub(super) bytes_size: usize,
    /// In a bytes object.
    pub(super) bytes_data: usize,
    /// In any object: its type.
    pub(super) object_type: usize,
    /// In a type: the function that releases its objects.
    pub(super) type_dealloc: usize,
}

/// Offsets in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FrameOffsets {
    pub(super) code: usize,
    /// Bits of the code pointer that are a tag.
    pub(super) code_tag_mask: usize,
    pub(super) previous: usize,
    pub(super) instruction: usize,
    pub(super) owner: usize,
    /// Owners from this number on are the interpreter's own entry frames.
    pub(super) first_entry_owner: u8,
    /// The number of the thread's copy of the bytecode (free-threaded, from 3.14).
    pub(super) bytecode_index: Option<usize>,
}

/// Offsets in a code object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CodeOffsets {
    pub(super) file_name: usize,
    pub(super) qualified_name: usize,
    pub(super) line_table: usize,
    pub(super) first_line: usize,
    /// Code units before which a frame is still being set up.
    pub(super) first_traceable: usize,
    pub(super) bytecode: usize,
    /// The threads' copies of the bytecode (free-threaded, from 3.14).
    pub(super) bytecode_copies: Option<usize>,
}

/// Offsets in a string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct StringOffsets {
    pub(super) length: usize,
    pub(super) state: usize,
    /// Where in `state` the three bits of the character width begin; `compact` and `ascii` follow.
    pub(super) state_kind_shift: u32,
    pub(super) ascii_data: usize,
    pub(super) compact_data: usize,
}

/// A type's `tp_dealloc` lies behind its head (24 or 40 bytes), `tp_name` and two sizes.
pub(super) const TYPE_DEALLOC: usize = 48;
pub(super) const TYPE_DEALLOC_FREE_THREADED: usize = 64;

/// The offsets of a version that does not describe itself.
pub(super) const fn constant(minor: u32) -> Option<Offsets> {
    match minor {
        11 => Some(VERSION_3_11),
        12 => Some(VERSION_3_12),
        _ => None,
    }
}

const VERSION_3_11: Offsets = Offsets {
    finalizing_thread: 24,
    thread_c_frame: Some(56),
    current_frame: 8,
    frame: FrameOffsets {
        code: 32,
        code_tag_mask: 0,
        previous: 48,
        instruction: 56,
        owner: 69,
        first_entry_owner: 99,
        bytecode_index: None,
    },
    code: CodeOffsets {
        file_name: 112,
        qualified_name: 128,
        line_table: 136,
        first_line: 72,
        first_traceable: 168,
        bytecode: 184,
        bytecode_copies: None,
    },
    string: StringOffsets {
        length: 16,
        state: 32,
        state_kind_shift: 2,
        ascii_data: 48,
        compact_data: 72,
    },
    bytes_size: 16,
    bytes_data: 32,
    object_type: 8,
    type_dealloc: TYPE_DEALLOC,
};

const VERSION_3_12: Offsets = Offsets {
    current_frame: 0,
    frame: FrameOffsets {
        code: 0,
        previous: 8,
        owner: 70,
        first_entry_owner: 3,
        ..VERSION_3_11.frame
    },
    code: CodeOffsets {
        first_line: 68,
        first_traceable: 176,
        bytecode: 192,
        ..VERSION_3_11.code
    },
    string: StringOffsets {
        ascii_data: 40,
        compact_data: 56,
        ..VERSION_3_11.string
    },
    ..VERSION_3_11
};
