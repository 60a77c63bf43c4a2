//! Options as the environment brings them: any text is either understood or refused in one line.

#![no_main]

use heapledger::tracker::options::Options;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| match Options::of_session().with(text) {
    Ok(options) => {
        let again = Options::of_session().with(text);
        assert_eq!(
            again.as_ref(),
            Ok(&options),
            "the same text, the same options"
        );
        assert!(options.effective_checks() & options.checks == options.checks);
    }
    Err(error) => assert!(!error.to_string().is_empty()),
});
