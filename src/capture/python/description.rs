//! What an interpreter says of its own layout, from 3.13 on.
//!
//! The exported `_PyRuntime` begins with `_Py_DebugOffsets`, a run of 64-bit numbers. Their order
//! differs between minor versions and is stable within one, so it is indexed by minor version, and
//! a minor version this file does not know is refused.

use super::offsets::{
    CodeOffsets, FrameOffsets, Offsets, StringOffsets, TYPE_DEALLOC, TYPE_DEALLOC_FREE_THREADED,
};

/// What the layout depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Build {
    /// The 13 of 3.13.
    pub(super) minor: u32,
    /// Built without the global interpreter lock.
    pub(super) free_threaded: bool,
}

/// How many 64-bit numbers of `_Py_DebugOffsets` are read.
pub(super) const DESCRIPTION_LENGTH: usize = 96;

/// The place of each number in `_Py_DebugOffsets`, for one minor version.
struct Places {
    finalizing_thread: usize,
    current_frame: usize,
    frame_previous: usize,
    frame_code: usize,
    frame_instruction: usize,
    frame_owner: usize,
    frame_bytecode_index: Option<usize>,
    code_file_name: usize,
    code_qualified_name: usize,
    code_line_table: usize,
    code_first_line: usize,
    code_bytecode: usize,
    code_bytecode_copies: Option<usize>,
    object_type: usize,
    bytes_size: usize,
    bytes_data: usize,
    string_state: usize,
    string_length: usize,
    string_ascii_size: usize,
}

const fn places(minor: u32) -> Option<Places> {
    match minor {
        13 => Some(PLACES_3_13),
        14 => Some(PLACES_3_14),
        15 => Some(PLACES_3_15),
        _ => None,
    }
}

const PLACES_3_13: Places = Places {
    finalizing_thread: 4,
    current_frame: 23,
    frame_previous: 29,
    frame_code: 30,
    frame_instruction: 31,
    frame_owner: 33,
    frame_bytecode_index: None,
    code_file_name: 35,
    code_qualified_name: 37,
    code_line_table: 38,
    code_first_line: 39,
    code_bytecode: 43,
    code_bytecode_copies: None,
    object_type: 45,
    bytes_size: 65,
    bytes_data: 66,
    string_state: 68,
    string_length: 69,
    string_ascii_size: 70,
};

const PLACES_3_14: Places = Places {
    finalizing_thread: 4,
    current_frame: 26,
    frame_previous: 32,
    frame_code: 33,
    frame_instruction: 34,
    frame_owner: 36,
    frame_bytecode_index: Some(38),
    code_file_name: 40,
    code_qualified_name: 42,
    code_line_table: 43,
    code_first_line: 44,
    code_bytecode: 48,
    code_bytecode_copies: Some(49),
    object_type: 51,
    bytes_size: 75,
    bytes_data: 76,
    string_state: 78,
    string_length: 79,
    string_ascii_size: 80,
};

const PLACES_3_15: Places = Places {
    finalizing_thread: 4,
    current_frame: 26,
    frame_previous: 40,
    frame_code: 41,
    frame_instruction: 42,
    frame_owner: 44,
    frame_bytecode_index: Some(46),
    code_file_name: 48,
    code_qualified_name: 50,
    code_line_table: 51,
    code_first_line: 52,
    code_bytecode: 56,
    code_bytecode_copies: Some(57),
    object_type: 59,
    bytes_size: 87,
    bytes_data: 88,
    string_state: 90,
    string_length: 91,
    string_ascii_size: 92,
};

/// The tag of a reference (`_PyStackRef`) takes the two lowest bits.
const CODE_TAG_MASK: usize = 3;
/// `FRAME_OWNED_BY_CSTACK` in 3.13, `FRAME_OWNED_BY_INTERPRETER` from 3.14 on.
const FIRST_ENTRY_OWNER: u8 = 3;
/// No field that is read lies further than this from the start of its object.
const OFFSET_MAX: usize = 4_096;

/// The offsets of a version that describes itself; `None` when the description makes no sense or
/// the minor version is not known.
pub(super) fn described(build: Build, description: &[u64; DESCRIPTION_LENGTH]) -> Option<Offsets> {
    let places = places(build.minor)?;
    let at = |place: usize| {
        let offset = usize::try_from(*description.get(place)?).ok()?;
        if offset < OFFSET_MAX {
            Some(offset)
        } else {
            None
        }
    };
    let in_free_threaded = |place: Option<usize>| if build.free_threaded { place } else { None };
    let bytecode = at(places.code_bytecode)?;
    let bytecode_copies = in_free_threaded(places.code_bytecode_copies).map(at);
    let bytecode_index = in_free_threaded(places.frame_bytecode_index).map(at);
    Some(Offsets {
        finalizing_thread: at(places.finalizing_thread)?,
        thread_c_frame: None,
        current_frame: at(places.current_frame)?,
        frame: FrameOffsets {
            code: at(places.frame_code)?,
            code_tag_mask: CODE_TAG_MASK,
            previous: at(places.frame_previous)?,
            instruction: at(places.frame_instruction)?,
            owner: at(places.frame_owner)?,
            first_entry_owner: FIRST_ENTRY_OWNER,
            bytecode_index: present(bytecode_index)?,
        },
        code: CodeOffsets {
            file_name: at(places.code_file_name)?,
            qualified_name: at(places.code_qualified_name)?,
            line_table: at(places.code_line_table)?,
            first_line: at(places.code_first_line)?,
            // Not described. It lies two words before the copies or, without them, the bytecode.
            first_traceable: present(bytecode_copies)?
                .unwrap_or(bytecode)
                .checked_sub(16)?,
            bytecode,
            bytecode_copies: present(bytecode_copies)?,
        },
        string: StringOffsets {
            length: at(places.string_length)?,
            state: at(places.string_state)?,
            // From 3.14 on, free-threaded builds keep "interned" in a byte of its own.
            state_kind_shift: if build.free_threaded && build.minor >= 14 {
                8
            } else {
                2
            },
            ascii_data: at(places.string_ascii_size)?,
            compact_data: at(places.string_ascii_size)? + 16,
        },
        bytes_size: at(places.bytes_size)?,
        bytes_data: at(places.bytes_data)?,
        object_type: at(places.object_type)?,
        type_dealloc: if build.free_threaded {
            TYPE_DEALLOC_FREE_THREADED
        } else {
            TYPE_DEALLOC
        },
    })
}

/// A field that may be missing from the layout, but not be wrong.
#[expect(
    clippy::option_option,
    reason = "absent and wrong are different answers"
)]
fn present(offset: Option<Option<usize>>) -> Option<Option<usize>> {
    match offset {
        Some(None) => None,
        Some(Some(offset)) => Some(Some(offset)),
        None => Some(None),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// What a 3.14 free-threaded build says of itself, as far as it is read.
    fn description_of_3_14_free_threaded() -> [u64; DESCRIPTION_LENGTH] {
        let mut description = [0; DESCRIPTION_LENGTH];
        let said = [
            (26, 72),
            (32, 8),
            (34, 56),
            (36, 78),
            (38, 72),
            (40, 128),
            (42, 144),
            (43, 152),
            (44, 84),
            (48, 232),
            (49, 224),
            (51, 24),
            (75, 32),
            (76, 48),
            (78, 48),
            (79, 32),
            (80, 56),
        ];
        for (place, offset) in said {
            description[place] = offset;
        }
        description
    }

    #[test]
    fn a_description_becomes_offsets() {
        let build = Build {
            minor: 14,
            free_threaded: true,
        };
        let offsets = described(build, &description_of_3_14_free_threaded()).expect("it is sane");
        assert_eq!(offsets.frame.owner, 78);
        assert_eq!(offsets.frame.bytecode_index, Some(72));
        assert_eq!(offsets.code.first_traceable, 208, "before the copies");
        assert_eq!(offsets.string.compact_data, 72);
        assert_eq!(offsets.string.state_kind_shift, 8);
        assert_eq!(offsets.type_dealloc, 64);
    }

    #[test]
    fn builds_with_a_lock_have_no_copies_of_the_bytecode() {
        let build = Build {
            minor: 14,
            free_threaded: false,
        };
        let offsets = described(build, &description_of_3_14_free_threaded()).expect("it is sane");
        assert_eq!(offsets.frame.bytecode_index, None);
        assert_eq!(offsets.code.bytecode_copies, None);
        assert_eq!(offsets.code.first_traceable, 216, "before the bytecode");
    }

    #[test]
    fn nonsense_and_unknown_versions_are_refused() {
        let mut description = description_of_3_14_free_threaded();
        let build = |minor| Build {
            minor,
            free_threaded: true,
        };
        assert_eq!(described(build(16), &description), None);
        assert_eq!(described(build(12), &description), None);
        description[49] = u64::MAX;
        assert_eq!(described(build(14), &description), None);
    }
}
