//! Files: read with a limit, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of a regular file, and of nothing else: a pipe or device might never end.
///
/// # Errors
/// It cannot be opened or read, is not a regular file, or is longer than `byte_max`.
pub fn read_file(path: &Path, byte_max: u64) -> io::Result<Vec<u8>> {
    // Asked before opening, because opening a pipe waits for its writer.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(byte_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > byte_max {
        return Err(io::Error::other(format!("longer than {byte_max} bytes")));
    }
    Ok(bytes)
}

/// Writes a file so that its readers see either what was there before or all of `bytes`: under a
/// temporary name in the same folder, renamed at the end. A pipe or device, such as `/dev/stderr`,
/// is written to directly, because renaming would replace it.
///
/// # Errors
/// The file or its folder cannot be written. Nothing is left behind then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let existing = path.metadata().ok();
    if existing.is_some_and(|existing| !existing.is_file()) {
        return OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    // Through a link, so that the link stays.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = temporary_name(&path)?;
    // New, so that a link that somebody laid under this name is not followed.
    let written = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        // It may not have been created at all; the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Tells apart the files that threads of this process write at the same time.
static WRITE_NUMBER: AtomicU64 = AtomicU64::new(0);

/// A name beside `path` that nobody else uses.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let no_name = || io::Error::other("the path names no file");
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or_else(no_name)?);
    let number = WRITE_NUMBER.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{number}.tmp", std::process::id()));
    Ok(path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_within_the_limit_is_read() {
        let path = std::env::temp_dir().join(format!("heapledger-bounded-{}", std::process::id()));
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_file(&path, 5).unwrap(), b"12345");
        let error = read_file(&path, 4).unwrap_err();
        assert_eq!(error.to_string(), "longer than 4 bytes");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn folders_devices_and_missing_files_are_errors() {
        assert!(read_file(Path::new("/dev/zero"), 5).is_err());
        assert!(read_file(Path::new("/"), 5).is_err());
        assert!(read_file(Path::new("/nonexistent"), 5).is_err());
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("heapledger-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = folder("files");
        let path = folder.join("report.json");
        write_whole(&path, b"long before").unwrap();
        write_whole(&path, b"after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = folder("link");
        let (target, link) = (folder.join("target"), folder.join("link"));
        fs::write(&target, b"before").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_whole(&link, b"after").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"after");
        assert!(link.is_symlink());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn devices_are_written_to_and_not_replaced() {
        write_whole(Path::new("/dev/null"), b"text").unwrap();
        assert!(!Path::new("/dev/null").is_file());
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        for path in ["/nonexistent/report", "/", ""] {
            assert!(write_whole(Path::new(path), b"text").is_err(), "{path}");
        }
    }
}
