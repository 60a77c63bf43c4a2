//! Reads the crate's own source: just enough of Rust's grammar for the tests that check rules.

use std::fs;
use std::path::{Path, PathBuf};

/// A word, or one character of punctuation, with the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// The crate's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of the crate.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| unreachable!("{}: {error}", path.display()))
}

/// Every file under `folder` with this extension, as paths from the crate's folder, sorted.
pub(crate) fn files_under(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut waiting = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder of the crate can be read");
            waiting.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(
                path.strip_prefix(root())
                    .expect("found under the root")
                    .to_path_buf(),
            );
        }
    }
    files.sort();
    files
}

/// Splits source into tokens; comments, strings, characters and lifetimes are left out.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader {
        rest: source,
        line: 1,
    };
    let mut found = Vec::new();
    while let Some(first) = reader.rest.chars().next() {
        if reader.skip_comment() || reader.skip_string() || reader.skip_quote() {
            continue;
        }
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let length = match reader.rest.find(|character| !is_word(character)) {
            Some(0) => first.len_utf8(),
            Some(length) => length,
            None => reader.rest.len(),
        };
        let line = reader.line;
        let text = reader.take(length);
        if !first.is_whitespace() {
            found.push(Token {
                text: text.to_owned(),
                line,
            });
        }
    }
    found
}

struct Reader<'source> {
    rest: &'source str,
    line: usize,
}

impl<'source> Reader<'source> {
    fn take(&mut self, length: usize) -> &'source str {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn take_past(&mut self, from: usize, end: &str) {
        let found = self.rest.get(from..).and_then(|rest| rest.find(end));
        self.take(found.map_or(self.rest.len(), |place| from + place + end.len()));
    }

    fn skip_comment(&mut self) -> bool {
        if self.rest.starts_with("//") {
            self.take_past(2, "\n");
        } else if self.rest.starts_with("/*") {
            self.take_past(2, "*/");
        } else {
            return false;
        }
        true
    }

    /// `"…"`, `b"…"`, `c"…"` and the raw forms `r"…"`, `r#"…"#`.
    fn skip_string(&mut self) -> bool {
        let prefix = self.rest.trim_start_matches(['b', 'c']);
        let prefix_length = self.rest.len() - prefix.len();
        if prefix_length > 1 {
            return false;
        }
        if let Some(raw) = prefix.strip_prefix('r') {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            if raw.get(hashes..).is_some_and(|rest| rest.starts_with('"')) {
                let end = format!("\"{}", "#".repeat(hashes));
                self.take_past(prefix_length + 1 + hashes + 1, &end);
                return true;
            }
        }
        if !prefix.starts_with('"') {
            return false;
        }
        let mut escaped = false;
        let end = prefix.char_indices().skip(1).find(|&(_, character)| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        self.take(end.map_or(self.rest.len(), |(place, _)| prefix_length + place + 1));
        true
    }

    /// A character literal, or the quote of a lifetime with its name.
    fn skip_quote(&mut self) -> bool {
        let Some(rest) = self.rest.strip_prefix('\'') else {
            return false;
        };
        let mut following = rest.chars();
        let (first, second) = (following.next(), following.next());
        if first == Some('\\') {
            self.take_past(3, "'");
        } else if second == Some('\'') {
            self.take_past(1, "'");
        } else {
            let name =
                rest.find(|character: char| !(character.is_alphanumeric() || character == '_'));
            self.take(1 + name.unwrap_or(rest.len()));
        }
        true
    }
}
