//! Files: read with a limit, written whole or not at all.

use crate::memory::descriptors::{is_of_this_user, let_wait};
use crate::memory::refusal::{Request, is_refused};
use crate::memory::write_signals::without_write_signals;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

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

/// How many temporary names are tried before giving up.
const NAME_TRY_COUNT: u32 = 16;

static NAME_COUNT: AtomicU32 = AtomicU32::new(0);

/// Replaces `%p` by the number of this process and `%%` by a percent sign.
#[must_use]
pub fn expand(pattern: &str) -> String {
    let mut path = String::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            ('%', Some('p')) => path.push_str(&std::process::id().to_string()),
            ('%', Some('%')) => path.push('%'),
            _ => {
                path.push(letter);
                continue;
            }
        }
        letters.next();
    }
    path
}

/// Writes `bytes` to `path` under a temporary name in the same folder, readable by the owner alone,
/// and then renames it. What was there before stays until then, and stays when writing fails; a
/// link is replaced and not followed. A pipe or device of ours, or `/dev/stderr` and its like, is
/// written to directly, because renaming would replace it; a pipe that nobody reads is an error.
///
/// # Errors
/// What the file system says; the temporary file is gone then. No signal says it: see
/// [`without_write_signals`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    without_write_signals(|| write(path, bytes))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_stream(path) {
        return open_stream(path)?.write_all(bytes);
    }
    let (temporary, mut file) = create_beside(path)?;
    let written = unless_refused(Request::WriteFile)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| unless_refused(Request::RenameFile))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Best effort: the error that matters is the one being returned.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Whether `path` names something to be written to and not replaced: a pipe or device, or a link of the
/// kernel's to whatever is open, as `/dev/stdout` is. What others put there, a link or a pipe of theirs,
/// would lead the report to them: it is replaced.
fn is_stream(path: &Path) -> bool {
    is_of_the_system(path)
        || path.symlink_metadata().is_ok_and(|existing| {
            let kind = existing.file_type();
            !kind.is_file() && !kind.is_dir() && !kind.is_symlink() && is_of_this_user(&existing)
        })
}

fn is_of_the_system(path: &Path) -> bool {
    path.parent() == Some(Path::new("/dev"))
        || path.starts_with("/dev/fd")
        || path.starts_with("/proc")
}

/// Opens a pipe or device. Opening a pipe waits for a reader, who may never come, so it is asked not to;
/// writing waits for him as any program would.
fn open_stream(path: &Path) -> io::Result<File> {
    let links = if is_of_the_system(path) {
        0
    } else {
        libc::O_NOFOLLOW
    };
    let file = OpenOptions::new()
        .append(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | links)
        .open(path)?;
    let_wait(&file)?;
    Ok(file)
}

fn unless_refused(request: Request) -> io::Result<()> {
    if is_refused(request) {
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    Ok(())
}

fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    unless_refused(Request::OpenFile)?;
    let name = path.file_name().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path does not end in the name of a file",
        )
    })?;
    let mut trouble = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..NAME_TRY_COUNT {
        let mut temporary = name.to_owned();
        temporary.push(format!(".{:016x}.tmp", unpredictable()));
        let temporary = path.with_file_name(temporary);
        // `create_new` refuses existing files and links alike.
        let options = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary);
        match options {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => trouble = error,
            Err(error) => return Err(error),
        }
    }
    Err(trouble)
}

/// A number nobody outside can guess: the hash keys of `RandomState` come from the kernel.
fn unpredictable() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    RandomState::new().hash_one((now, NAME_COUNT.fetch_add(1, Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

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
        let folder = std::env::temp_dir().join(format!("heapledger-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the test");
        folder
    }

    #[test]
    fn placeholders_are_replaced() {
        let pid = std::process::id();
        assert_eq!(expand("/r/%p.json"), format!("/r/{pid}.json"));
        assert_eq!(expand("100%%-%x-%"), "100%-%x-%");
    }

    #[test]
    fn a_report_replaces_the_old_one_and_only_its_owner_may_read_it() {
        let folder = folder("replace");
        let path = folder.join("report.json");
        write_whole(&path, b"first").expect("written");
        write_whole(&path, b"second").expect("written again");
        assert_eq!(fs::read(&path).expect("there"), b"second");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(&folder).expect("there").count(),
            1,
            "no temporary file is left"
        );
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = folder("link");
        let (target, link) = (folder.join("target"), folder.join("link.json"));
        fs::write(&target, b"precious").expect("written");
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        write_whole(&link, b"report").expect("written");
        assert_eq!(fs::read(&target).expect("there"), b"precious");
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn devices_are_written_to_and_not_replaced() {
        write_whole(Path::new("/dev/null"), b"text").expect("written");
        assert!(!Path::new("/dev/null").is_file());
        // A missing device is not created.
        assert!(write_whole(Path::new("/dev/heapledger-none"), b"text").is_err());
        assert!(!Path::new("/dev/heapledger-none").exists());
    }

    #[test]
    fn only_what_is_no_file_of_its_own_is_a_stream() {
        for stream in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/null"] {
            assert!(is_stream(Path::new(stream)), "{stream}");
        }
        for file in ["/dev/shm/report.json", "/tmp/new.json", "new.json", "/"] {
            assert!(!is_stream(Path::new(file)), "{file}");
        }
    }

    #[test]
    fn a_link_to_a_device_is_replaced_too() {
        let folder = folder("link-to-device");
        let link = folder.join("link.json");
        std::os::unix::fs::symlink("/dev/null", &link).expect("linked");
        write_whole(&link, b"report").expect("written");
        assert_eq!(fs::read(&link).expect("there"), b"report");
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(write_whole(Path::new("/nowhere/at/all.json"), b"").is_err());
        assert!(write_whole(Path::new("/"), b"").is_err());
    }
}
