//! Quoting the program's own source lines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::files;

/// Bytes of a source file; a larger one is not quoted.
pub const FILE_BYTE_MAX: u64 = 8 << 20;
/// Characters of a quoted line; the rest is cut.
pub const LINE_LENGTH_MAX: usize = 160;
/// Files read for one report; later ones are not quoted.
pub const FILE_COUNT_MAX: usize = 256;

/// Reads each file once, and only files that are older than the report: a line that changed since
/// would be a false witness.
#[derive(Debug, Default)]
pub struct SourceLines {
    not_after: Option<SystemTime>,
    files: BTreeMap<PathBuf, Option<String>>,
}

impl SourceLines {
    /// Quotes files that were last changed at or before `not_after`; `None`: any file.
    #[must_use]
    pub const fn new(not_after: Option<SystemTime>) -> Self {
        Self {
            not_after,
            files: BTreeMap::new(),
        }
    }

    /// The line, counted from 1, without the space around it. `None` when it cannot be read or is
    /// empty.
    pub fn line(&mut self, file: &str, number: u32) -> Option<String> {
        // "<string>" and "<frozen ...>" are no files.
        if file.is_empty() || file.starts_with('<') || number == 0 {
            return None;
        }
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let line = self.text(Path::new(file))?.lines().nth(index)?.trim();
        let cut: String = line.chars().take(LINE_LENGTH_MAX).collect();
        match (cut.len() < line.len(), cut.is_empty()) {
            (true, _) => Some(format!("{cut}…")),
            (false, true) => None,
            (false, false) => Some(cut),
        }
    }

    fn text(&mut self, path: &Path) -> Option<&str> {
        if !self.files.contains_key(path) {
            if self.files.len() >= FILE_COUNT_MAX {
                return None;
            }
            let text = self.read(path);
            self.files.insert(path.to_owned(), text);
        }
        self.files.get(path)?.as_deref()
    }

    fn read(&self, path: &Path) -> Option<String> {
        let changed = path.metadata().ok()?.modified().ok()?;
        if self.not_after.is_some_and(|moment| changed > moment) {
            return None;
        }
        let bytes = files::read_file(path, FILE_BYTE_MAX).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn with_file(content: &str, name: &str, check: impl FnOnce(&str)) {
        let name = format!("heapledger-source-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        check(&path.display().to_string());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn lines_are_counted_from_one_and_trimmed() {
        with_file("first\n\n    third\r\n", "lines", |file| {
            let mut source = SourceLines::new(None);
            assert_eq!(source.line(file, 1).as_deref(), Some("first"));
            assert_eq!(source.line(file, 2), None);
            assert_eq!(source.line(file, 3).as_deref(), Some("third"));
            assert_eq!(source.line(file, 4), None);
            assert_eq!(source.line(file, 0), None);
            assert_eq!(source.line(file, u32::MAX), None);
        });
    }

    #[test]
    fn long_lines_are_cut() {
        with_file(&"é".repeat(LINE_LENGTH_MAX + 1), "long", |file| {
            let expected = format!("{}…", "é".repeat(LINE_LENGTH_MAX));
            assert_eq!(SourceLines::new(None).line(file, 1), Some(expected));
        });
    }

    #[test]
    fn files_that_changed_since_are_not_quoted() {
        with_file("text", "changed", |file| {
            let hour = Duration::from_secs(3600);
            let now = SystemTime::now();
            assert_eq!(SourceLines::new(now.checked_sub(hour)).line(file, 1), None);
            assert!(
                SourceLines::new(now.checked_add(hour))
                    .line(file, 1)
                    .is_some()
            );
        });
    }

    #[test]
    fn what_is_no_file_has_no_lines() {
        let mut source = SourceLines::new(None);
        for file in ["", "<string>", "/nonexistent", "/", "/dev/zero", "a\0b"] {
            assert_eq!(source.line(file, 1), None, "{file:?}");
        }
    }

    #[test]
    fn the_number_of_files_is_limited() {
        let mut source = SourceLines::new(None);
        for number in 0..FILE_COUNT_MAX + 10 {
            source.line(&format!("/nonexistent/{number}"), 1);
        }
        assert_eq!(source.files.len(), FILE_COUNT_MAX);
    }
}
