//! Moments in UTC as text: `2026-01-31T12:00:00Z`.

use std::time::{Duration, SystemTime};

const DAY_SECONDS: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01 in the Gregorian calendar.
const EPOCH_DAYS: u64 = 719_468;
/// Days in 400 years, after which the calendar repeats.
const CYCLE_DAYS: u64 = 146_097;

/// The moment, to the second. A clock before 1970 counts as 1970.
#[must_use]
pub fn utc_text(moment: SystemTime) -> String {
    let since_epoch = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    text_of_seconds(since_epoch.as_secs())
}

/// The moment that a text of [`utc_text`]'s form names; `None` for any other text.
#[must_use]
pub fn moment_of(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'Z'),
    ];
    if bytes.len() != 20 || marks.iter().any(|(at, mark)| bytes.get(*at) != Some(mark)) {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits
            .bytes()
            .all(|digit| digit.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let days = days_of(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn text_of_seconds(seconds: u64) -> String {
    let (days, second) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (second / 3600, second % 3600 / 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day counted from 1970-01-01. Years begin in March here, so that the leap
/// day is the last of its year and the lengths of the months follow one formula.
fn date_of(days_since_epoch: u64) -> (u64, u64, u64) {
    let days = days_since_epoch + EPOCH_DAYS;
    let (cycle, day_of_cycle) = (days / CYCLE_DAYS, days % CYCLE_DAYS);
    let leap_days = day_of_cycle / 1460 + day_of_cycle / 146_096 - day_of_cycle / 36_524;
    let year_of_cycle = (day_of_cycle - leap_days) / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next_year) = if month_from_march < 10 {
        (month_from_march + 3, 0)
    } else {
        (month_from_march - 9, 1)
    };
    (cycle * 400 + year_of_cycle + next_year, month, day)
}

/// The inverse of [`date_of`]; `None` when there is no such date since 1970.
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month_from_march) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (cycle, year_of_cycle) = (year / 400, year % 400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    let days = (cycle * CYCLE_DAYS + day_of_cycle).checked_sub(EPOCH_DAYS)?;
    // A day such as 31 April would have become 1 May.
    (date_of(days).2 == day).then_some(days)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(text_of_seconds(seconds), text);
            let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(moment_of(text), Some(moment));
            assert_eq!(utc_text(moment), text);
        }
    }

    #[test]
    fn other_texts_are_no_moments() {
        for text in [
            "",
            "2023-11-14",
            "2023-11-14 22:13:20Z",
            "2023-13-14T22:13:20Z",
            "2023-02-29T22:13:20Z",
            "2023-04-31T22:13:20Z",
            "1969-12-31T23:59:59Z",
            "2023-11-14T24:13:20Z",
            "2023-11-14T22:13:20+",
            "+023-11-14T22:13:20Z",
            "2023-11-14T22:13:2éZ",
        ] {
            assert_eq!(moment_of(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_second_until_the_year_9999_is_read_back(seconds in 0_u64..253_402_300_800) {
            let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert_eq!(moment_of(&utc_text(moment)), Some(moment));
        }
    }
}
