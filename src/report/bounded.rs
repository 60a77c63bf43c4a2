//! Reading files with a limit, and nothing but files: a pipe or device would never end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The bytes of a regular file.
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
}
