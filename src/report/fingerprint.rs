//! The fingerprint of a finding: equal between runs for the same kind and stacks.
//!
//! FNV-1a with 64 bits (offset basis `cbf29ce484222325`, prime `100000001b3`) over these fields, in
//! this order, each followed by the byte `ff`, which no UTF-8 text contains; written as 16
//! hexadecimal digits:
//!
//! 1. the kind;
//! 2. the foreign function: file name of the library, function name (two empty fields when none);
//! 3. of a leak: the family, and `python` or `library` for who had the block last, because one call
//!    can hand over one block and keep the next;
//! 4. the stacks `here`, `released`, `allocated`: each frame's fields, then one empty field. `here` is
//!    taken as empty for damage that was noticed by chance, where other memory came or went.
//!
//! Internal frames do not count. A Python frame counts as `P`, file, function, line. A native frame counts as `N`, file name of
//! the library, function. Its address never counts, because it differs from run to run, except
//! that a frame without a function name counts its offset within the page, which does not. Its file
//! and line count only when the caller stated them itself (`hl_malloc_at`; the address is 0): those of
//! debug information may be there in one report and missing in the next.

use super::model::{Finding, Frame, file_name};

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;
const FIELD_END: u8 = 0xff;
const PAGE_OFFSET_MASK: u64 = 0xfff;

/// The fingerprint of a finding; nothing else of it counts than what the list above names.
#[must_use]
pub fn of(finding: &Finding) -> String {
    let mut hash = Hash(OFFSET_BASIS);
    hash.field(&finding.kind);
    let foreign = finding.foreign_function.as_ref();
    hash.field(foreign.map_or("", |function| file_name(&function.library)));
    hash.field(foreign.map_or("", |function| &function.name));
    if finding.is_leak() {
        hash.field(&finding.family);
        hash.field(if finding.handed_to_python {
            "python"
        } else {
            "library"
        });
    }
    let stacks = &finding.stacks;
    let here: &[Frame] = if finding.is_noticed_by_chance() {
        &[]
    } else {
        &stacks.here
    };
    for stack in [here, &stacks.released, &stacks.allocated] {
        for frame in stack.iter().filter(|frame| !frame.is_internal()) {
            hash.frame(frame);
        }
        hash.field("");
    }
    format!("{:016x}", hash.0)
}

struct Hash(u64);

impl Hash {
    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(PRIME);
    }

    fn field(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.byte(byte));
        self.byte(FIELD_END);
    }

    fn frame(&mut self, frame: &Frame) {
        match frame {
            Frame::Python {
                file,
                line,
                function,
            } => {
                self.field("P");
                self.field(file);
                self.field(function);
                self.field(&line.to_string());
            }
            Frame::Native {
                library,
                function,
                file,
                line,
                address,
                ..
            } => {
                self.field("N");
                self.field(file_name(library));
                self.field(function);
                if *address == 0 {
                    self.field(file);
                    self.field(&line.to_string());
                } else if function.is_empty() {
                    self.field(&format!("{:x}", address & PAGE_OFFSET_MASK));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures::{native, python};
    use crate::report::model::Stacks;

    fn leak(allocated: Vec<Frame>) -> Finding {
        Finding {
            kind: "leak".to_owned(),
            stacks: Stacks {
                allocated,
                ..Stacks::default()
            },
            ..Finding::default()
        }
    }

    #[test]
    fn the_algorithm_is_fnv_1a() {
        let mut hash = Hash(OFFSET_BASIS);
        "foobar".bytes().for_each(|byte| hash.byte(byte));
        assert_eq!(hash.0, 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_value_never_changes_between_versions() {
        let finding = leak(vec![
            python("/app.py", 12, "main"),
            native("/l/libcpp.so", "get", 77),
        ]);
        assert_eq!(of(&finding), "eaaa3e12e789616b");
    }

    #[test]
    fn addresses_counts_and_library_folders_do_not_matter() {
        let one = leak(vec![native("/a/libcpp.so", "get", 0x7f00_1000)]);
        let mut other = leak(vec![native("/b/libcpp.so", "get", 0x7e00_5432)]);
        other.count = 9;
        other.message = "other".to_owned();
        assert_eq!(of(&one), of(&other));
    }

    #[test]
    fn kind_line_function_and_side_matter() {
        let base = leak(vec![python("a.py", 1, "f")]);
        let mut other_kind = base.clone();
        other_kind.kind = "double-free".to_owned();
        let mut other_side = base.clone();
        other_side.stacks.here = std::mem::take(&mut other_side.stacks.allocated);
        let mut other_owner = base.clone();
        other_owner.handed_to_python = true;
        for other in [
            other_owner,
            other_kind,
            other_side,
            leak(vec![python("a.py", 2, "f")]),
            leak(vec![python("a.py", 1, "g")]),
            leak(vec![]),
        ] {
            assert_ne!(of(&base), of(&other), "{other:?}");
        }
    }

    #[test]
    fn a_stated_line_matters_and_a_symbolised_one_does_not() {
        let at = |line, address| {
            let frame = Frame::Native {
                library: "x.so".to_owned(),
                function: "make".to_owned(),
                file: "x.c".to_owned(),
                line,
                address,
                build_id: String::new(),
                offset: 0,
                internal: false,
                inlined: false,
            };
            of(&leak(vec![frame]))
        };
        assert_ne!(at(1, 0), at(2, 0));
        assert_eq!(at(1, 0x1000), at(2, 0x2000));
    }

    #[test]
    fn a_nameless_function_is_told_by_its_offset_in_the_page() {
        let at = |address| of(&leak(vec![native("x.so", "", address)]));
        assert_eq!(at(0x7f00_1123), at(0x7e00_7123));
        assert_ne!(at(0x7f00_1123), at(0x7f00_1124));
    }
}
