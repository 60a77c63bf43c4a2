//! Numbers that must not be confused: where memory is, how much there is, and where code is.

use std::fmt;

/// An address of data in this process. Never dereferenced through this type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Address(usize);

impl Address {
    /// The null address.
    pub const NULL: Self = Self(0);

    /// Wraps a raw number.
    #[must_use]
    pub const fn new(raw: usize) -> Self {
        Self(raw)
    }

    /// The address a pointer holds.
    #[must_use]
    pub fn of<T: ?Sized>(pointer: *const T) -> Self {
        Self(pointer.cast::<u8>().addr())
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }

    /// The address `bytes` further on; saturates at the end of the address space.
    #[must_use]
    pub const fn offset_by(self, bytes: usize) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// How many bytes `self` lies after `earlier`; `None` when it lies before.
    #[must_use]
    pub const fn bytes_after(self, earlier: Self) -> Option<usize> {
        self.0.checked_sub(earlier.0)
    }

    /// Whether this is null.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(transparent)]
pub struct ByteCount(usize);

impl ByteCount {
    /// Wraps a raw number of bytes.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

/// A return address: the instruction after a call, so the call itself is one byte before it.
///
/// A type of its own because looking up a return address as if it were an instruction names the
/// next line, or the next function when the call was the last instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(transparent)]
pub struct FrameAddress(usize);

impl FrameAddress {
    /// No native caller is known.
    pub const UNKNOWN: Self = Self(0);

    /// Wraps a return address.
    #[must_use]
    pub const fn from_return_address(raw: usize) -> Self {
        Self(raw)
    }

    /// The return address itself.
    #[must_use]
    pub const fn return_address(self) -> usize {
        self.0
    }

    /// An address inside the calling instruction: what symbol and line tables are asked for.
    #[must_use]
    pub const fn call_address(self) -> usize {
        self.0.saturating_sub(1)
    }

    /// Whether a caller is known.
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.0 != 0
    }
}
