//! Quoting the program's own source lines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::bounded;

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
        let bytes = bounded::read_file(path, FILE_BYTE_MAX).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}
