//! Reports read back: anybody may have edited them. What is read is shown without control characters,
//! and what is written is read again as the same.

#![no_main]

use heapledger::report::{Format, Suppressions, TextOptions, render_saved};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let none = Suppressions::default();
    let Ok(written) = render_saved(bytes, &none, Format::Json) else {
        return;
    };
    let again = render_saved(written.as_bytes(), &none, Format::Json);
    assert_eq!(again.expect("we wrote it"), written);
    // The quoted source would be that of any file the report names.
    let options = TextOptions {
        quote_source: false,
        ..TextOptions::default()
    };
    let text = render_saved(bytes, &none, Format::Text(options)).expect("read a moment ago");
    let is_hostile = |character: char| character.is_control() && character != '\n';
    assert!(!text.contains(is_hostile), "{text:?}");
});
