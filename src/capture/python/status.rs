//! Whether Python stacks can be read, and of which interpreter.

use std::fmt;

/// The version of an interpreter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PythonVersion {
    /// The 3 of 3.13.0.
    pub major: u32,
    /// The 13 of 3.13.0.
    pub minor: u32,
    /// The 0 of 3.13.0.
    pub micro: u32,
    /// 10 for an alpha version, 11 beta, 12 release candidate, 15 final.
    pub(super) release_level: u32,
}

impl PythonVersion {
    /// Takes `PY_VERSION_HEX` apart.
    pub(super) const fn from_hex(hex: u64) -> Self {
        const fn byte(hex: u64, shift: u32) -> u32 {
            (hex >> shift & 0xFF) as u32
        }
        let (major, minor, micro) = (byte(hex, 24), byte(hex, 16), byte(hex, 8));
        Self {
            major,
            minor,
            micro,
            release_level: byte(hex, 4) & 0xF,
        }
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// Whether Python stacks are read natively in this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PythonStatus {
    /// They are.
    Connected {
        /// Of the interpreter.
        version: PythonVersion,
        /// Whether it is a build without the global interpreter lock.
        free_threaded: bool,
    },
    /// There is no `CPython` in this process, or nobody has asked to connect yet.
    NotPython,
    /// There is one whose frames cannot be read.
    Unsupported {
        /// Why, in a sentence.
        reason: &'static str,
    },
    /// The check at start-up found a mismatch; the reader stays off.
    TurnedOff,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_taken_apart_and_shown() {
        let version = PythonVersion::from_hex(0x030D_05C2);
        assert_eq!(version.to_string(), "3.13.5");
        assert_eq!(version.release_level, 0xC);
    }
}
