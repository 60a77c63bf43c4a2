//! The patterns of suppressions: those of `LeakSanitizer`, with `?` beside `*`.

/// A pattern: `*` stands for any text, `?` for one character. It matches when any part of the text
/// fits, unless `^` at its start or `$` at its end anchors it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob {
    body: Vec<char>,
}

impl Glob {
    /// Reads a pattern. Every text is a valid one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let (pattern, from_start) = match pattern.strip_prefix('^') {
            Some(rest) => (rest, true),
            None => (pattern, false),
        };
        let (pattern, to_end) = match pattern.strip_suffix('$') {
            Some(rest) => (rest, true),
            None => (pattern, false),
        };
        let open = |anchored: bool| (!anchored).then_some('*');
        let body = open(from_start)
            .into_iter()
            .chain(pattern.chars())
            .chain(open(to_end));
        Self {
            body: body.collect(),
        }
    }

    /// Whether the text fits. Takes at most the product of both lengths.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut star_at, mut text_at, mut text_retry) = (0, None, 0, 0);
        while let Some(character) = text.get(text_at) {
            match self.body.get(at) {
                Some('*') => {
                    star_at = Some(at);
                    text_retry = text_at;
                    at += 1;
                }
                Some(expected) if *expected == '?' || expected == character => {
                    at += 1;
                    text_at += 1;
                }
                // The last star takes one more character, and what follows it is tried again.
                // Earlier stars need not be: they already took the least they could.
                _ => match star_at {
                    Some(star) => {
                        text_retry += 1;
                        text_at = text_retry;
                        at = star + 1;
                    }
                    None => return false,
                },
            }
        }
        self.body.iter().skip(at).all(|rest| *rest == '*')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).matches(text)
    }

    #[test]
    fn any_part_fits_unless_anchored() {
        assert!(matches("shared", "get_shared_memory"));
        assert!(!matches("^shared", "get_shared_memory"));
        assert!(!matches("shared$", "get_shared_memory"));
        assert!(matches("^get", "get_shared_memory"));
        assert!(matches("memory$", "get_shared_memory"));
        assert!(matches("^main$", "main"));
        assert!(!matches("^main$", "main2"));
    }

    #[test]
    fn stars_and_question_marks() {
        assert!(matches("lib*.so:f?o", "/usr/lib/libx.so:foo"));
        assert!(!matches("f??o$", "foo"));
        assert!(matches("^*a*b*$", "xxaxxbxx"));
        assert!(!matches("^a*b$", "ab1"));
        assert!(matches("^a*b$", "a1b2b"));
        assert!(matches("?", "é"));
    }

    #[test]
    fn empty_texts() {
        assert!(matches("", ""));
        assert!(matches("*", ""));
        assert!(matches("^$", ""));
        assert!(!matches("?", ""));
        assert!(!matches("^$", "a"));
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern = format!("^{}b$", "*a".repeat(200));
        assert!(!matches(&pattern, &"a".repeat(2000)));
    }

    /// The plain recursive meaning, slow and obvious.
    fn meaning(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                meaning(rest, text) || text.split_first().is_some_and(|(_, t)| meaning(pattern, t))
            }
            (Some((p, rest)), Some((t, text))) => (*p == '?' || p == t) && meaning(rest, text),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_meaning(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            let anchored = Glob::new(&format!("^{pattern}$")).matches(&text);
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(anchored, meaning(&p, &t));
            let part = (0..=t.len()).any(|from| {
                (from..=t.len()).any(|to| meaning(&p, t.get(from..to).unwrap()))
            });
            prop_assert_eq!(Glob::new(&pattern).matches(&text), part);
        }

        #[test]
        fn any_pattern_and_text_are_answered(pattern in any::<String>(), text in any::<String>()) {
            let _ = Glob::new(&pattern).matches(&text);
        }

        #[test]
        fn a_text_matches_itself(text in "[^*?^$]{0,20}") {
            prop_assert!(Glob::new(&text).matches(&text));
            let anchored = format!("^{text}$");
            prop_assert!(Glob::new(&anchored).matches(&text));
        }
    }
}
