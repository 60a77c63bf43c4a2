//! Reading a code object: its file, its function's name, the line of an instruction.

#![expect(unsafe_code, reason = "reads interpreter objects by offset")]

use super::line_table;
use super::offsets::Offsets;
use super::peek::{peek, peek_address};
use super::string::{TextBuffer, characters};
use crate::memory::Address;

/// Lengths above this are taken for damage and read as nothing.
const OBJECT_BYTE_MAX: usize = 1 << 26;

const STATE_KIND_MASK: u32 = 7;
const STATE_COMPACT_BIT: u32 = 3;
const STATE_ASCII_BIT: u32 = 4;

/// A code object that a frame of the calling thread refers to, so that it cannot die while it is
/// being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code<'interpreter> {
    address: Address,
    offsets: &'interpreter Offsets,
}

impl<'interpreter> Code<'interpreter> {
    /// A code object to read.
    ///
    /// # Safety
    /// * `address` is a live code object of the interpreter that `offsets` describe.
    /// * It stays alive as long as the result is used: a frame of the calling thread refers to it.
    pub(super) unsafe fn at(address: Address, offsets: &'interpreter Offsets) -> Self {
        Self { address, offsets }
    }

    /// Hands `co_filename` to `use_text`, as UTF-8.
    pub(super) fn with_file_name<T>(self, use_text: impl FnOnce(&[u8]) -> T) -> T {
        self.with_string(self.offsets.code.file_name, use_text)
    }

    /// Hands `co_qualname` to `use_text`, as UTF-8.
    pub(super) fn with_qualified_name<T>(self, use_text: impl FnOnce(&[u8]) -> T) -> T {
        self.with_string(self.offsets.code.qualified_name, use_text)
    }

    /// The line of the instruction `lasti` bytes into the code; `None` when it has none.
    pub(super) fn line(self, lasti: i32) -> Option<u32> {
        // SAFETY: `at` promises a live code object; its line table is a bytes object it owns.
        let table = unsafe { peek_address(self.address, self.offsets.code.line_table) };
        // SAFETY: as above; the first line is a C int.
        let first_line = unsafe { peek::<i32>(self.address, self.offsets.code.first_line) };
        if table.is_null() {
            return None;
        }
        // SAFETY: the size of a bytes object is a Py_ssize_t in its head.
        let size = unsafe { peek::<usize>(table, self.offsets.bytes_size) };
        let data = table.offset_by(self.offsets.bytes_data);
        // SAFETY: a bytes object holds `size` bytes of data and never changes.
        let bytes = unsafe { data_at(data, size) };
        line_table::line_of(bytes, first_line, lasti)
    }

    fn with_string<T>(self, offset: usize, use_text: impl FnOnce(&[u8]) -> T) -> T {
        // SAFETY: `at` promises a live code object; both its names are strings it owns.
        let string = unsafe { peek_address(self.address, offset) };
        if string.is_null() {
            return use_text(b"");
        }
        let fields = &self.offsets.string;
        // SAFETY: the length is a Py_ssize_t in the string's head.
        let length = unsafe { peek::<usize>(string, fields.length) };
        // SAFETY: the state is a 32-bit field in the string's head.
        let state = unsafe { peek::<u32>(string, fields.state) } >> fields.state_kind_shift;
        let width = (state & STATE_KIND_MASK) as usize;
        let is_compact = state >> STATE_COMPACT_BIT & 1 == 1;
        // Names of code objects are made by the compiler or unmarshalled, both compact.
        if !is_compact || !matches!(width, 1 | 2 | 4) {
            return use_text(b"?");
        }
        let is_ascii = state >> STATE_ASCII_BIT & 1 == 1;
        let data = if is_ascii {
            fields.ascii_data
        } else {
            fields.compact_data
        };
        // SAFETY: a compact string holds `length` characters of `width` bytes behind its head, and
        // its characters never change.
        let bytes = unsafe { data_at(string.offset_by(data), length.saturating_mul(width)) };
        if is_ascii {
            return use_text(bytes);
        }
        use_text(TextBuffer::of(characters(bytes, width)).text())
    }
}

/// The bytes of an immutable object.
///
/// # Safety
/// * The `byte_count` bytes from `address` on are readable and nobody writes them during `'data`.
unsafe fn data_at<'data>(address: Address, byte_count: usize) -> &'data [u8] {
    if byte_count > OBJECT_BYTE_MAX {
        return &[];
    }
    let data = std::ptr::with_exposed_provenance(address.get());
    // SAFETY: the caller's duty; bytes have no alignment.
    unsafe { std::slice::from_raw_parts(data, byte_count) }
}
