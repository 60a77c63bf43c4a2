//! From an instruction to its line: the location table of PEP 657 (`co_linetable`, 3.11 and later).
//!
//! Each entry begins with a byte `1 code:4 length-1:3`; the length counts code units of two bytes.
//! What follows depends on the code and tells how far the line moves and which columns are meant.
//! The columns are skipped.

/// The entry covers instructions without a line.
const NO_LINE: u8 = 15;
/// A line difference, an end line and two columns, all of variable length.
const LONG_FORM: u8 = 14;
/// A line difference of variable length, no columns.
const NO_COLUMNS: u8 = 13;
/// From here up to `NO_COLUMNS`: a line difference of `code - 10`, two column bytes.
const ONE_LINE_FORM: u8 = 10;

const BYTES_PER_CODE_UNIT: i64 = 2;

/// The line of the instruction `lasti` bytes into the code; `None` when it has no line.
pub(super) fn line_of(table: &[u8], first_line: i32, lasti: i32) -> Option<u32> {
    if lasti < 0 {
        return u32::try_from(first_line).ok();
    }
    let mut bytes = table.iter().copied();
    let mut line = i64::from(first_line);
    let mut entry_end = 0_i64;
    while let Some(head) = bytes.next() {
        let code = head >> 3 & 15;
        line += line_difference(code, &mut bytes);
        entry_end += (i64::from(head & 7) + 1) * BYTES_PER_CODE_UNIT;
        if i64::from(lasti) < entry_end {
            return if code == NO_LINE {
                None
            } else {
                u32::try_from(line).ok()
            };
        }
    }
    None
}

/// Reads the rest of an entry and answers how far the line moves.
fn line_difference(code: u8, bytes: &mut impl Iterator<Item = u8>) -> i64 {
    match code {
        NO_LINE => 0,
        LONG_FORM => {
            let difference = signed_number(bytes);
            for _end_line_and_columns in 0..3 {
                unsigned_number(bytes);
            }
            difference
        }
        NO_COLUMNS => signed_number(bytes),
        ONE_LINE_FORM..NO_COLUMNS => {
            bytes.next();
            bytes.next();
            i64::from(code - ONE_LINE_FORM)
        }
        _ => {
            bytes.next();
            0
        }
    }
}

/// Six bits a byte, lowest first; bit 6 says that more follow.
fn unsigned_number(bytes: &mut impl Iterator<Item = u8>) -> u32 {
    let mut number = 0_u32;
    let mut shift = 0;
    for byte in bytes {
        number |= u32::from(byte & 63).checked_shl(shift).unwrap_or(0);
        shift += 6;
        if byte & 64 == 0 {
            break;
        }
    }
    number
}

/// The lowest bit is the sign.
fn signed_number(bytes: &mut impl Iterator<Item = u8>) -> i64 {
    let number = unsigned_number(bytes);
    let magnitude = i64::from(number >> 1);
    if number & 1 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const fn head(code: u8, length_in_units: u8) -> u8 {
        0x80 | code << 3 | (length_in_units - 1)
    }

    #[test]
    fn short_and_one_line_forms_move_the_line_by_their_code() {
        let table = [
            head(0, 1),
            0,
            head(11, 2),
            4,
            9,
            head(5, 1),
            0,
            head(12, 1),
            0,
            0,
        ];
        assert_eq!(line_of(&table, 10, 0), Some(10));
        assert_eq!(line_of(&table, 10, 2), Some(11));
        assert_eq!(
            line_of(&table, 10, 4),
            Some(11),
            "the second unit of the entry"
        );
        assert_eq!(line_of(&table, 10, 6), Some(11), "the same line");
        assert_eq!(line_of(&table, 10, 8), Some(13));
        assert_eq!(line_of(&table, 10, 10), None, "behind the last entry");
    }

    #[test]
    fn long_form_and_no_columns_move_the_line_both_ways() {
        // A difference of -3 is 7; of +100 is 200 = 8 + 3 * 64.
        let table = [head(14, 1), 7, 1, 1, 1, head(13, 8), 64 | 8, 3];
        assert_eq!(line_of(&table, 10, 0), Some(7));
        assert_eq!(line_of(&table, 10, 2), Some(107));
    }

    #[test]
    fn an_instruction_without_a_line_has_none() {
        let table = [head(15, 1), head(0, 1), 0];
        assert_eq!(line_of(&table, 10, 0), None);
        assert_eq!(line_of(&table, 10, 2), Some(10));
    }

    #[test]
    fn before_the_first_instruction_is_the_first_line() {
        assert_eq!(line_of(&[], 10, -2), Some(10));
    }

    #[test]
    fn a_damaged_table_gives_no_line_and_no_panic() {
        assert_eq!(line_of(&[], 1, 0), None);
        assert_eq!(line_of(&[head(14, 1)], 1, 4), None);
        assert_eq!(
            line_of(&[head(13, 1), 127, 127, 127, 127, 127, 127, 127, 127], 1, 9),
            None
        );
        assert_eq!(line_of(&[head(13, 1), 3], 0, 0), None, "line -1");
    }
}
