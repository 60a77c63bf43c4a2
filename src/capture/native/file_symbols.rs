//! Names for places in files, without a process that has them loaded: for saved reports.

use super::debug_file::Root;
use super::modules::Module;
use super::symbols::{SourcePlace, Symbols};
use std::path::PathBuf;

/// Reads symbols of one file after the other, and keeps those of the last.
///
/// Ask about the places of one file in a row: a file's debug information may take a gibibyte.
#[derive(Debug)]
pub struct FileSymbols {
    root: Root,
    last: Option<Read>,
}

#[derive(Debug)]
struct Read {
    path: String,
    build_id: String,
    symbols: Option<Symbols>,
}

impl FileSymbols {
    /// Symbols of the files of this machine or, with a root, of those under it.
    #[must_use]
    pub fn under(root: Option<PathBuf>) -> Self {
        Self {
            root: Root::at(root),
            last: None,
        }
    }

    /// The source places of the call that returns to `offset` in the file at `path`, functions that
    /// were inlined there first. Empty when there is no such file, or when its build id is another.
    #[must_use]
    pub fn places(&mut self, path: &str, build_id: &str, offset: u64) -> Vec<SourcePlace> {
        let is_last = |read: &Read| read.path == path && read.build_id == build_id;
        if !self.last.as_ref().is_some_and(is_last) {
            // The old symbols go before the new ones are read.
            self.last = None;
            let module = Module::in_file(path, build_id);
            self.last = Some(Read {
                path: path.to_owned(),
                build_id: build_id.to_owned(),
                symbols: Symbols::read(&self.root, &module),
            });
        }
        let symbols = self.last.as_ref().and_then(|read| read.symbols.as_ref());
        symbols.map_or_else(Vec::new, |symbols| symbols.places_of_call(offset))
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_file_is_asked_only_if_it_is_the_right_one() {
        let path = std::env::current_exe().expect("this test");
        let path = path.to_str().expect("a readable path");
        let notes = Command::new("readelf").args(["-n", path]).output();
        let notes = String::from_utf8(notes.expect("binutils").stdout).expect("text");
        let id = notes.split("Build ID: ").nth(1).expect("a build id").trim();
        let base = Command::new("nm").arg(path).output().expect("binutils");
        let names = String::from_utf8(base.stdout).expect("text");
        let line = names.lines().find(|line| line.ends_with(" T main"));
        let main = line.expect("a program").split(' ').next().expect("address");
        let offset = u64::from_str_radix(main, 16).expect("hexadecimal") + 2;
        let mut symbols = FileSymbols::under(None);
        let places = symbols.places(path, id, offset);
        assert_eq!(places.last().expect("known").function, "main");
        assert!(symbols.places(path, "00ff", offset).is_empty());
        assert!(symbols.places("/nowhere/x.so", id, offset).is_empty());
        let mut elsewhere = FileSymbols::under(Some("/nowhere".into()));
        assert!(elsewhere.places(path, id, offset).is_empty());
    }
}
