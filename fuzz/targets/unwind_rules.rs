//! `.eh_frame`: the rules of any object, well made or not, are read within its bytes.

#![no_main]

use heapledger::capture::unwind_rule;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u16, &[u8])| {
    let (table, place, image) = input;
    let rule = unwind_rule(image, usize::from(table), usize::from(place));
    assert_eq!(
        rule,
        unwind_rule(image, usize::from(table), usize::from(place))
    );
});
