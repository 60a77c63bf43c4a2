//! Suppressions and the patterns in them: a file is read or refused, and a pattern that contains no
//! wildcard is found exactly where the text contains it.

#![no_main]

use heapledger::report::Suppressions;
use heapledger::report::glob::Glob;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str)| {
    let (file, pattern, text) = input;
    if let Err(error) = Suppressions::parse(file, "rules") {
        assert!(error.to_string().starts_with("rules"));
    }
    let glob = Glob::new(pattern);
    let fits = glob.matches(text);
    assert!(
        !fits || glob.may_match_within(text),
        "{pattern:?} in {text:?}"
    );
    if !pattern.contains(['*', '?', '^', '$']) {
        assert_eq!(fits, text.contains(pattern), "{pattern:?} in {text:?}");
    }
});
