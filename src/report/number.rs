//! Numbers in sentences.

/// A number with its noun: `1 block`, `3360 bytes`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// A number with its noun and thousands apart: `3,360 bytes`.
#[must_use]
pub fn grouped(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", thousands(number))
}

/// A number with thousands apart: `1,234,567`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The article before a spoken number: "a 48-byte block", "an 8-byte block".
#[must_use]
pub fn article(number: u64) -> &'static str {
    let text = thousands(number);
    let spoken_first = text.split(',').next().unwrap_or_default();
    if spoken_first.starts_with('8') || spoken_first == "11" || spoken_first == "18" {
        "an"
    } else {
        "a"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_follow_the_number() {
        assert_eq!(counted(1, "block"), "1 block");
        assert_eq!(counted(0, "block"), "0 blocks");
        assert_eq!(counted(3360, "byte"), "3360 bytes");
        assert_eq!(grouped(3360, "byte"), "3,360 bytes");
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1,000");
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn articles_follow_the_spoken_word() {
        for number in [8, 80, 88, 800, 8000, 11, 18, 11_000, 18_000_000] {
            assert_eq!(article(number), "an", "{number}");
        }
        for number in [0, 1, 7, 48, 100, 110, 180, 1100, 1800, 118_000] {
            assert_eq!(article(number), "a", "{number}");
        }
    }
}
