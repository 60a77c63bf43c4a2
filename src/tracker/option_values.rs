//! What the values of options look like as text.

use std::fmt;

/// What is wrong with an option text: a sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OptionError(pub String);

impl fmt::Display for OptionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for OptionError {}

/// Reads a number.
pub(super) fn count(key: &str, value: &str) -> Result<u32, OptionError> {
    let number = value.parse();
    number.map_err(|_| OptionError(format!("{key} cannot be \"{value}\": it is a number")))
}

/// Reads a number of bytes: `65536`, `64K`, `64M` or `1G`.
pub(super) fn byte_count(key: &str, value: &str) -> Result<u64, OptionError> {
    const UNITS: [(char, u32); 3] = [('K', 10), ('M', 20), ('G', 30)];
    let unit = UNITS.iter().find(|(letter, _)| value.ends_with(*letter));
    let (digits, shift) = match unit {
        Some((letter, shift)) => (value.trim_end_matches(*letter), *shift),
        None => (value, 0),
    };
    let number = digits.parse::<u64>().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| {
        OptionError(format!(
            "{key} cannot be \"{value}\": it is a number of bytes, such as 67108864 or 64M"
        ))
    })
}

/// Reads the path of a file.
pub(super) fn path(key: &str, value: &str) -> Result<Option<String>, OptionError> {
    if value.is_empty() {
        return Err(OptionError(format!("{key} needs the path of a file")));
    }
    Ok(Some(value.to_owned()))
}

/// The parts between colons that no backslash precedes.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let escaped = letter == '\\' && letters.peek() == Some(&':');
        let letter = if escaped {
            letters.next().unwrap_or(letter)
        } else {
            letter
        };
        if letter == ':' && !escaped {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts
}
