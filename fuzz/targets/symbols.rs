//! ELF and DWARF: the file of a saved report may be any file. One place of it is asked for by name.

#![no_main]

use heapledger::capture::FileSymbols;
use libfuzzer_sys::fuzz_target;
use std::fs::{File, remove_file};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

/// A file without a name, in memory where the machine has such a folder.
fn file_of(bytes: &[u8]) -> std::io::Result<File> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.exists() {
        memory.into()
    } else {
        std::env::temp_dir()
    };
    let path = folder.join(format!("heapledger-fuzz-{}", std::process::id()));
    let mut file = File::create_new(&path)?;
    remove_file(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (offset, bytes) = input;
    let file = file_of(bytes).expect("room for a small file");
    // Under a root named by the user, a file without a build id is taken for the right one.
    let mut symbols = FileSymbols::under(Some("/proc/self/fd".into()));
    let path = format!("/{}", file.as_raw_fd());
    for place in symbols.places(&path, "", u64::from(offset)) {
        assert!(place.function.len() <= 1 << 16);
    }
});
