//! A code object's line table, read from a process whose memory may be anything.

#![no_main]

use heapledger::capture::line_of;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (i32, i32, &[u8])| {
    let (first_line, instruction, table) = input;
    let line = line_of(table, first_line, instruction);
    if instruction < 0 {
        assert_eq!(
            line,
            u32::try_from(first_line).ok(),
            "before the first instruction"
        );
    }
});
