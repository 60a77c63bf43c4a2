//! Refusals on demand: a request to the system is refused as if the system had.
//!
//! Only with the feature `refusals`, for tests; without it [`is_refused`] is a constant. Every request
//! whose refusal we have to live with asks here first. `HEAPLEDGER_REFUSE=map:3` refuses the third
//! mapping of the process, `map:3+` all from the third on; when that happens, the file that
//! `HEAPLEDGER_REFUSED` names is created, so that a test knows when it has tried everything.

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Request {
    /// Pages, by whomever.
    Map = 0,
    /// Pages for the own heap.
    HeapGrowth = 1,
    /// Access to pages that were set aside.
    OpenPages = 2,
    /// Access to slots that ld.so closed.
    OpenSlots = 3,
    /// Guard pages.
    Guard = 4,
    /// The list of mappings.
    ReadMappings = 5,
    /// A copy of memory that may be gone.
    Peek = 6,
    /// A file for the report.
    OpenFile = 7,
    /// Writing to it.
    WriteFile = 8,
    /// Its name.
    RenameFile = 9,
    /// To be told of the ends of threads.
    ThreadKey = 10,
    /// To be told of the end of this thread.
    ThreadSlot = 11,
    /// To be told of forks.
    ForkHandlers = 12,
}

/// Whether this request is to be refused.
#[cfg(not(feature = "refusals"))]
#[inline]
#[must_use]
pub const fn is_refused(_request: Request) -> bool {
    false
}

#[cfg(feature = "refusals")]
pub use on_demand::is_refused;

#[cfg(feature = "refusals")]
mod on_demand {
    #![expect(unsafe_code, reason = "getenv and open, which must not allocate")]

    use super::Request;
    use std::ffi::CStr;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The names in `HEAPLEDGER_REFUSE`, in the order of [`Request`].
    const NAMES: [&[u8]; 13] = [
        b"map",
        b"heap",
        b"open-pages",
        b"open-slots",
        b"guard",
        b"maps",
        b"peek",
        b"open",
        b"write",
        b"rename",
        b"thread-key",
        b"thread-slot",
        b"fork-handlers",
    ];

    static ASKED: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];

    /// Whether this request is to be refused.
    #[must_use]
    pub fn is_refused(request: Request) -> bool {
        let Some((name, number, onwards)) = setting() else {
            return false;
        };
        let place = request as usize;
        if NAMES.get(place) != Some(&name) {
            return false;
        }
        let asked = ASKED
            .get(place)
            .map_or(0, |asked| asked.fetch_add(1, Ordering::Relaxed) + 1);
        let refused = asked == number || (onwards && asked > number);
        if refused {
            leave_a_sign();
        }
        refused
    }

    fn variable(name: &CStr) -> Option<&'static CStr> {
        // SAFETY: a name that ends; the environment is not changed in the programs of these tests.
        let value = unsafe { libc::getenv(name.as_ptr()) };
        // SAFETY: not null, so a string of the environment.
        (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
    }

    fn setting() -> Option<(&'static [u8], u64, bool)> {
        let text = variable(c"HEAPLEDGER_REFUSE")?.to_bytes();
        let colon = text.iter().position(|&byte| byte == b':')?;
        let (name, rest) = (text.get(..colon)?, text.get(colon + 1..)?);
        let onwards = rest.last() == Some(&b'+');
        let digits = rest.strip_suffix(b"+").unwrap_or(rest);
        let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some((name, number, onwards))
    }

    fn leave_a_sign() {
        if let Some(path) = variable(c"HEAPLEDGER_REFUSED") {
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC;
            // SAFETY: a path that ends.
            let file = unsafe { libc::open(path.as_ptr(), flags, 0o600) };
            if file >= 0 {
                // SAFETY: opened above.
                unsafe { libc::close(file) };
            }
        }
    }
}
