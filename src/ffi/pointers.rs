//! Pointers of callers, turned into values or refused.

#![expect(
    unsafe_code,
    reason = "reads and writes through pointers that callers vouch for"
)]

use super::HlStatus;
use super::status::fail;
use std::ffi::{CStr, c_char};

/// The caller's place for a text: `buffer` of `capacity` bytes, and where the length goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextOut {
    pub(super) buffer: *mut c_char,
    pub(super) capacity: usize,
    pub(super) length: *mut usize,
}

/// Writes `text` and a final NUL, and its length without the NUL. When it does not fit, only the
/// length is written.
///
/// # Safety
/// * `out.buffer` is null or has `out.capacity` bytes that the caller may write.
/// * `out.length` is null or a place for one number.
pub(super) unsafe fn write_text(text: &str, out: TextOut) -> HlStatus {
    if out.length.is_null() && out.buffer.is_null() {
        return HlStatus::NullPointer;
    }
    if !out.length.is_null() {
        // SAFETY: not null, so it is a place for one number.
        unsafe { out.length.write_unaligned(text.len()) };
    }
    if out.buffer.is_null() || out.capacity <= text.len() {
        return HlStatus::BufferTooSmall;
    }
    let buffer = out.buffer.cast::<u8>();
    // SAFETY: the buffer has more than `text.len()` bytes, and nothing of ours lies in it.
    unsafe { buffer.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
    // SAFETY: as above, the byte after the text is still inside.
    let end = unsafe { buffer.add(text.len()) };
    // SAFETY: as above.
    unsafe { end.write(0) };
    HlStatus::Ok
}

/// The bytes of a C string; `None` for null.
///
/// # Safety
/// * `text` is null or ends with NUL, and lives until the result is no longer used.
pub(super) unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, so it ends with NUL, and the caller keeps it alive.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// The text of a C string that must be there and be UTF-8.
///
/// # Safety
/// * As for [`bytes`].
pub(super) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str, HlStatus> {
    // SAFETY: the caller's duties are the same.
    let Some(bytes) = (unsafe { bytes(pointer) }) else {
        return Err(fail(HlStatus::NullPointer, format!("{name} is null")));
    };
    std::str::from_utf8(bytes).map_err(|_| {
        fail(
            HlStatus::InvalidArgument,
            format!("{name} is not valid UTF-8"),
        )
    })
}

/// The bytes of a JSON text that must be there.
///
/// # Safety
/// * `json` is null or has `length` bytes, and lives until the result is no longer used.
pub(super) unsafe fn json_bytes<'a>(
    json: *const c_char,
    length: usize,
) -> Result<&'a [u8], HlStatus> {
    if json.is_null() {
        return Err(fail(HlStatus::NullPointer, "json is null"));
    }
    if isize::try_from(length).is_err() {
        return Err(fail(
            HlStatus::InvalidArgument,
            format!("json_length is {length}: no text is so long"),
        ));
    }
    // SAFETY: not null, so the caller vouches for `length` bytes, which no address space exceeds.
    Ok(unsafe { std::slice::from_raw_parts(json.cast::<u8>(), length) })
}

/// The text of a C string that may be null.
///
/// # Safety
/// * As for [`bytes`].
pub(super) unsafe fn optional_text<'a>(
    pointer: *const c_char,
    name: &str,
) -> Result<Option<&'a str>, HlStatus> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's duties are the same.
    unsafe { text(pointer, name) }.map(Some)
}

/// Writes one value through a pointer that must be there.
///
/// # Safety
/// * `place` is null or a place for one value.
pub(super) unsafe fn write<T>(place: *mut T, value: T) -> HlStatus {
    if place.is_null() {
        return HlStatus::NullPointer;
    }
    // SAFETY: not null, so it is a place for one value; the caller may have packed it.
    unsafe { place.write_unaligned(value) };
    HlStatus::Ok
}

/// Writes the first bytes of a value: of a structure that has grown since the caller was compiled.
///
/// # Safety
/// * `place` has `byte_count` bytes, which are no more than the value has.
pub(super) unsafe fn write_first<T>(place: *mut T, value: &T, byte_count: u64) -> HlStatus {
    let Ok(byte_count) = usize::try_from(byte_count) else {
        return HlStatus::InvalidArgument;
    };
    let from = std::ptr::from_ref(value).cast::<u8>();
    let place = place.cast::<u8>();
    // SAFETY: the caller's duties; nothing of ours lies in the place.
    unsafe { place.copy_from_nonoverlapping(from, byte_count) };
    HlStatus::Ok
}

/// The `struct_size` that the caller wrote at the start of a structure, if it is this library's, or
/// `first`, that of its first edition.
///
/// # Safety
/// * As for [`check_struct_size`].
pub(super) unsafe fn struct_size_of<T>(structure: *const T, first: u64) -> Result<u64, HlStatus> {
    if !structure.is_null() {
        // SAFETY: not null, and every structure of the interface begins with this field.
        let size = unsafe { structure.cast::<u64>().read_unaligned() };
        if size == first {
            return Ok(size);
        }
    }
    // SAFETY: the caller's duty.
    unsafe { check_struct_size(structure) }.map(|()| size_of::<T>() as u64)
}

/// The `struct_size` that the caller wrote at the start of a structure, if it is the one this
/// library was built with.
///
/// # Safety
/// * `structure` is null or points at a structure whose first field is its `u64` size.
pub(super) unsafe fn check_struct_size<T>(structure: *const T) -> Result<(), HlStatus> {
    if structure.is_null() {
        return Err(HlStatus::NullPointer);
    }
    // SAFETY: not null, and every structure of the interface begins with this field.
    let size = unsafe { structure.cast::<u64>().read_unaligned() };
    let ours = size_of::<T>() as u64;
    if size == ours {
        return Ok(());
    }
    let sentence = format!("struct_size is {size}, and this library's structure has {ours} bytes");
    Err(fail(HlStatus::StructSize, sentence))
}
