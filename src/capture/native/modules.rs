//! Modules: each loading of each object at each place, stored once with what tells its file from
//! another file of the same name.
//!
//! A report looks for symbols in files. By then the object may have been unloaded, and its file
//! replaced; so the identity is taken when code of the object is first seen, and a file with
//! another identity is never asked.

use super::loaded::{Loaded, number_at};
use crate::capture::hash::halves;
use crate::capture::intern_table::InternTable;
use crate::capture::text_table::{TextId, TextTable};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// How many modules are kept. An object that is loaded again elsewhere is another module.
#[cfg(not(test))]
const MODULE_COUNT_MAX: usize = 1 << 14;
#[cfg(test)]
const MODULE_COUNT_MAX: usize = 100;

/// The number of a module. Zero: the code belongs to no object, or there was no room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub(in crate::capture) struct ModuleId(pub(in crate::capture) u32);

impl ModuleId {
    /// No module.
    pub(in crate::capture) const NONE: Self = Self(0);
}

/// A module as a report needs it.
#[derive(Clone, Default, Debug)]
pub(super) struct Module {
    /// The file's path.
    pub(super) path: String,
    /// See [`identity_of_file`]; the build id of a loaded object that has one.
    pub(super) identity: String,
    /// What the loader added to the addresses in the file.
    pub(super) bias: u64,
}

impl Module {
    /// A file of another process or machine. Without a build id its content is not known.
    pub(super) fn in_file(path: &str, build_id: &str) -> Self {
        Self {
            path: path.to_owned(),
            identity: build_id.to_owned(),
            bias: 0,
        }
    }

    /// The build id; empty for a module without one.
    pub(super) fn build_id(&self) -> &str {
        if self.identity.contains(' ') {
            ""
        } else {
            &self.identity
        }
    }

    /// Whether this loaded object is this module: the same content at the same place.
    pub(super) fn is_loaded_as(&self, loaded: &Loaded) -> bool {
        let path = path_of(loaded);
        self.bias == loaded.bias as u64
            && self.path == path.to_string_lossy()
            && self.identity == identity_of(loaded, &path)
    }
}

/// The modules.
#[derive(Debug)]
pub(in crate::capture) struct ModuleTable {
    records: InternTable,
}

impl ModuleTable {
    /// An empty table; `None` when the kernel refuses pages.
    pub(in crate::capture) fn new() -> Option<Self> {
        Some(Self {
            records: InternTable::new(MODULE_COUNT_MAX)?,
        })
    }

    /// The number of a loaded object, stored now if it was not known.
    pub(super) fn intern(&self, texts: &TextTable, loaded: &Loaded) -> ModuleId {
        let path = path_of(loaded);
        let identity = identity_of(loaded, &path);
        let (low, high) = halves(loaded.bias as u64);
        let path = texts.intern(path.as_os_str().as_bytes());
        let identity = texts.intern(identity.as_bytes());
        let words = [path.0, identity.0, low, high];
        self.records
            .intern(&words.into_iter())
            .map_or(ModuleId::NONE, ModuleId)
    }

    /// What a number stands for.
    pub(super) fn module(&self, texts: &TextTable, module: ModuleId) -> Option<Module> {
        let mut words = self.records.record(module.0);
        let (path, identity) = (TextId(words.next()?), TextId(words.next()?));
        let (low, high) = (words.next()?, words.next()?);
        Some(Module {
            path: texts.text(path),
            identity: texts.text(identity),
            bias: u64::from(high) << 32 | u64::from(low),
        })
    }

    /// The path of a module's file; empty for none.
    pub(in crate::capture) fn path(&self, texts: &TextTable, module: ModuleId) -> String {
        let found = self.module(texts, module);
        found.map_or_else(String::new, |module| module.path)
    }

    /// The table of records, for its counters.
    pub(in crate::capture) fn records(&self) -> &InternTable {
        &self.records
    }
}

/// The path in full: the program may change its directory later.
fn path_of(loaded: &Loaded) -> std::path::PathBuf {
    let name = Path::new(std::ffi::OsStr::from_bytes(loaded.name()));
    if name.as_os_str().is_empty() {
        return std::fs::read_link("/proc/self/exe").unwrap_or_default();
    }
    if name.components().count() == 1 {
        // The loader found it by name alone: the vdso, which is no file.
        return name.to_path_buf();
    }
    std::path::absolute(name).unwrap_or_else(|_| name.to_path_buf())
}

fn identity_of(loaded: &Loaded, path: &Path) -> String {
    build_id(loaded).map_or_else(|| identity_of_file(path), hex)
}

/// What a file without build id is known by: where it is kept, its size and its age.
pub(super) fn identity_of_file(path: &Path) -> String {
    std::fs::metadata(path).map_or_else(
        |_| String::new(),
        |file| {
            let (inode, size) = (file.ino(), file.size());
            format!(
                "file {}:{inode}:{size}:{}.{}",
                file.dev(),
                file.mtime(),
                file.mtime_nsec()
            )
        },
    )
}

/// Bytes as lower-case hexadecimal digits: how build ids are written in paths.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The build id of a loaded object, from its notes in memory.
fn build_id(loaded: &Loaded) -> Option<&[u8]> {
    loaded.program_headers()?.find_map(|header| {
        if number_at(header, 0, 4)? != libc::PT_NOTE as usize {
            return None;
        }
        let place = loaded.bias.wrapping_add(number_at(header, 16, 8)?);
        let alignment = number_at(header, 48, 8)?;
        build_id_in(loaded.bytes(place, number_at(header, 32, 8)?)?, alignment)
    })
}

/// The build id among the notes of one segment.
fn build_id_in(mut notes: &[u8], alignment: usize) -> Option<&[u8]> {
    const GNU_BUILD_ID: usize = 3;
    let padded = |length: usize| length.next_multiple_of(if alignment == 8 { 8 } else { 4 });
    loop {
        let name_length = number_at(notes, 0, 4)?;
        let length = number_at(notes, 4, 4)?;
        let kind = number_at(notes, 8, 4)?;
        let content = padded(12 + name_length);
        let name = notes.get(12..12 + name_length)?;
        if kind == GNU_BUILD_ID && name == b"GNU\0" {
            return notes.get(content..content + length);
        }
        notes = notes.get(content + padded(length)..)?;
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::memory::Address;

    #[test]
    fn an_object_is_known_by_path_and_build_id() {
        let texts = TextTable::new().expect("pages");
        let table = ModuleTable::new().expect("pages");
        let libc = Address::new((libc::malloc as *const ()).addr());
        let loaded = Loaded::containing(libc).expect("libc is loaded");
        let number = table.intern(&texts, &loaded);
        let module = table.module(&texts, number).expect("stored");
        assert!(module.path.contains("libc"));
        assert_eq!(module.identity.len(), 40, "SHA-1: {}", module.identity);
        assert_eq!(module.bias, loaded.bias as u64);
        assert_eq!(table.intern(&texts, &loaded), number);
        assert!(table.module(&texts, ModuleId::NONE).is_none());
    }

    #[test]
    fn the_program_itself_is_known_by_its_path() {
        let own = Address::new((hex as *const ()).addr());
        let path = path_of(&Loaded::containing(own).expect("this test"));
        assert_eq!(path, std::env::current_exe().expect("the test's path"));
    }

    #[test]
    fn a_build_id_is_found_behind_other_notes() {
        let other = b"\x04\0\0\0\x04\0\0\0\x05\0\0\0GNU\0abcd";
        let wanted = b"\x04\0\0\0\x02\0\0\0\x03\0\0\0GNU\0\xab\xcd\0\0";
        let notes = [other.as_slice(), wanted].concat();
        assert_eq!(build_id_in(&notes, 4), Some(b"\xab\xcd".as_slice()));
        assert_eq!(build_id_in(other, 4), None);
        assert_eq!(build_id_in(&notes[..30], 4), None, "cut in the middle");
    }
}
