//! What the standard library does not ask of open files: whose they are, and to wait.

#![expect(unsafe_code, reason = "geteuid and fcntl are foreign calls")]

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// Whether a file belongs to the user as whom this process acts.
#[must_use]
pub fn is_of_this_user(file: &Metadata) -> bool {
    // SAFETY: takes nothing and cannot fail.
    file.uid() == unsafe { libc::geteuid() }
}

/// Lets writing wait for a reader, to a file that was opened without waiting.
///
/// # Errors
/// What the kernel says.
pub fn let_wait(file: &File) -> io::Result<()> {
    // SAFETY: asks for the flags of a file that is open as long as `file` is.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above; the flags are its own but for one.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
