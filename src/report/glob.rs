//! The patterns of suppressions: those of `LeakSanitizer`, with `?` beside `*`.

/// A pattern: `*` stands for any text, `?` for one character. It matches when any part of the text
/// fits, unless `^` at its start or `$` at its end anchors it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob {
    /// The pattern for the whole text: a side that is not anchored has a star.
    body: String,
    /// The longest part without `*` and `?`.
    needle: String,
}

impl Glob {
    /// Reads a pattern. Every text is a valid one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let (pattern, before) = match pattern.strip_prefix('^') {
            Some(rest) => (rest, ""),
            None => (pattern, "*"),
        };
        let (pattern, after) = match pattern.strip_suffix('$') {
            Some(rest) => (rest, ""),
            None => (pattern, "*"),
        };
        let pieces = pattern.split(['*', '?']);
        Self {
            body: format!("{before}{pattern}{after}"),
            needle: pieces
                .max_by_key(|piece| piece.len())
                .unwrap_or_default()
                .to_owned(),
        }
    }

    /// Whether some part of the text might fit: a quick test that rules out most texts.
    #[must_use]
    pub fn may_match_within(&self, text: &str) -> bool {
        text.contains(&self.needle)
    }

    /// Whether the text fits. Takes at most the product of both lengths.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        // Bytes serve, because no character of UTF-8 begins inside another: only `?` and `*` have to
        // step over whole characters.
        let (pattern, text) = (self.body.as_bytes(), text.as_bytes());
        let (mut at, mut text_at) = (0, 0);
        let mut last_star = None;
        while let Some(byte) = text.get(text_at) {
            match pattern.get(at) {
                Some(b'*') => {
                    last_star = Some((at, text_at));
                    at += 1;
                }
                Some(b'?') => {
                    at += 1;
                    text_at += character_length(*byte);
                }
                Some(expected) if expected == byte => {
                    at += 1;
                    text_at += 1;
                }
                // The last star takes one more character, and what follows it is tried again.
                // Earlier stars need not be: they already took the least they could.
                _ => match last_star {
                    Some((star_at, from)) => {
                        let first = text.get(from).copied().unwrap_or_default();
                        text_at = from + character_length(first);
                        last_star = Some((star_at, text_at));
                        at = star_at + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern.iter().skip(at).all(|rest| *rest == b'*')
    }
}

/// Bytes of the UTF-8 character that begins with this byte.
const fn character_length(first: u8) -> usize {
    match first {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..=0xff => 4,
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
        fn agrees_with_the_plain_meaning(pattern in "[aé日*?]{0,8}", text in "[aé日😀]{0,8}") {
            let anchored = Glob::new(&format!("^{pattern}$")).matches(&text);
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(anchored, meaning(&p, &t));
            let part = (0..=t.len()).any(|from| {
                (from..=t.len()).any(|to| meaning(&p, t.get(from..to).unwrap()))
            });
            let open = Glob::new(&pattern);
            prop_assert_eq!(open.matches(&text), part);
            prop_assert!(!part || open.may_match_within(&text));
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
