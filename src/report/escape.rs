//! Makes text from a program safe to show: file and function names may hold anything.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with every character escaped that could move the cursor, start a line, change colours
/// or reverse the reading direction.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hazardous) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            _ if is_hazardous(character) => {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
            }
            _ => safe.push(character),
        }
    }
    Cow::Owned(safe)
}

/// Control characters, line and paragraph separators, and marks of reading direction.
fn is_hazardous(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_text_is_unchanged() {
        let text = "/srv/Übung/файл.py: f.<locals>.<lambda> 日本語";
        assert!(matches!(escaped(text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(
            escaped("a\u{1b}[31mb\nc\td\r\0"),
            "a\\u{1b}[31mb\\nc\\td\\r\\u{0}"
        );
        assert_eq!(
            escaped("evil\u{202e}yp.exe\u{9b}"),
            "evil\\u{202e}yp.exe\\u{9b}"
        );
    }

    proptest! {
        #[test]
        fn nothing_hazardous_is_left(text in any::<String>()) {
            prop_assert!(!escaped(&text).contains(is_hazardous));
        }
    }
}
