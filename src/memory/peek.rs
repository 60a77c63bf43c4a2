//! Reading memory that may vanish: the kernel copies it, and says so when it is gone.

#![expect(unsafe_code, reason = "process_vm_readv is a foreign call")]

use super::Address;
use super::refusal::{Request, is_refused};

/// What came of the question for some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// All were copied.
    Copied,
    /// Some of them cannot be read.
    Unreadable,
    /// The kernel did not look: a seccomp filter forbids it, or memory was short. Proves nothing.
    Refused,
}

/// Copies the bytes at `from` into `into`; `false` when not all of them are readable, or when the
/// kernel refuses the question.
#[must_use]
pub fn peek(from: Address, into: &mut [u8]) -> bool {
    ask(from, into) == Answer::Copied
}

/// Copies the bytes at `from` into `into`, and tells why when it cannot.
#[must_use]
pub fn ask(from: Address, into: &mut [u8]) -> Answer {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(from.get()),
        iov_len: into.len(),
    };
    if is_refused(Request::Peek) {
        return Answer::Refused;
    }
    // SAFETY: takes no argument and cannot fail.
    let pid = unsafe { libc::getpid() };
    // SAFETY: `local` covers exactly `into`, which this call alone may write; `remote` is only
    // looked at by the kernel, which answers EFAULT for anything unreadable.
    let copied =
        unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(copied) {
        Ok(count) if count == into.len() => Answer::Copied,
        // The rest lies on a page that is not there.
        Ok(_) => Answer::Unreadable,
        Err(_) => match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EFAULT) => Answer::Unreadable,
            _ => Answer::Refused,
        },
    }
}

/// The whole words of copied bytes.
pub fn words(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    bytes
        .chunks_exact(size_of::<usize>())
        .filter_map(|word| word.try_into().ok())
        .map(usize::from_ne_bytes)
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn readable_bytes_are_copied_and_others_refused() {
        let source = *b"twelve bytes";
        let mut copy = [0; 12];
        assert!(peek(Address::of(source.as_ptr()), &mut copy));
        assert_eq!(copy, source);
        assert_eq!(ask(Address::new(16), &mut copy), Answer::Unreadable);
        assert!(!peek(Address::new(16), &mut copy));
        assert!(!peek(Address::new(usize::MAX - 4), &mut copy));
    }
}
