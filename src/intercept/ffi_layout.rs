//! libffi's description of a call, as far as every version has it, and the values of one call.

#![expect(
    unsafe_code,
    reason = "reads libffi's description of a call, and its values"
)]

use std::ptr::NonNull;

const WORD: usize = size_of::<usize>();

/// `ffi_cif`.
#[derive(Debug)]
#[repr(C)]
pub(super) struct CallInterface {
    abi: u32,
    argument_count: u32,
    argument_types: *const *const ValueType,
    result_type: *const ValueType,
}

/// `ffi_type`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct ValueType {
    byte_count: usize,
    alignment: u16,
    kind: u16,
    elements: *const *const ValueType,
}

/// `FFI_TYPE_*`.
pub(super) mod kind {
    /// `int`.
    pub(crate) const INT: u16 = 1;
    /// Unsigned, 32 bits.
    pub(crate) const UINT32: u16 = 9;
    /// Signed, 32 bits: what ctypes takes a result for that nobody declared.
    pub(crate) const SINT32: u16 = 10;
    /// Unsigned, 64 bits.
    pub(crate) const UINT64: u16 = 11;
    /// Signed, 64 bits.
    pub(crate) const SINT64: u16 = 12;
    /// A structure.
    pub(crate) const STRUCTURE: u16 = 13;
    /// A pointer.
    pub(crate) const POINTER: u16 = 14;
}

/// A value of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Value {
    /// [`kind`].
    pub(super) kind: u16,
    /// Its size.
    pub(super) byte_count: usize,
}

impl Value {
    /// What a call returns; of no kind when the caller has no place for it.
    #[inline]
    pub(super) fn result(interface: NonNull<CallInterface>, place: usize) -> Self {
        if place == 0 {
            return Self {
                kind: 0,
                byte_count: 0,
            };
        }
        // SAFETY: whoever calls `ffi_call` passes a description that is valid for the call.
        let interface = unsafe { interface.as_ref() };
        // SAFETY: as above; libffi reads the same type.
        let value = unsafe { *interface.result_type };
        Self {
            kind: value.kind,
            byte_count: value.byte_count,
        }
    }

    /// Whether a pointer fits.
    #[inline]
    pub(super) fn may_be_pointer(self) -> bool {
        matches!(self.kind, kind::POINTER | kind::UINT64 | kind::SINT64)
    }

    /// Whether it is an integer of 32 bits.
    #[inline]
    pub(super) fn is_half_word(self) -> bool {
        matches!(self.kind, kind::INT | kind::SINT32 | kind::UINT32)
    }
}

/// The arguments of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arguments<'call> {
    types: &'call [*const ValueType],
    /// An array of as many places, each of the value of an argument.
    places: usize,
}

impl Arguments<'_> {
    /// The arguments of a call made by `interface` with the array `places`.
    pub(super) fn of(interface: NonNull<CallInterface>, places: usize) -> Self {
        // SAFETY: as in `Value::result`.
        let interface = unsafe { interface.as_ref() };
        let count = usize::try_from(interface.argument_count).unwrap_or_default();
        if interface.argument_types.is_null() || places == 0 || count == 0 {
            return Self {
                types: &[],
                places: 0,
            };
        }
        // SAFETY: libffi's contract: that many types, which outlive the call.
        let types = unsafe { std::slice::from_raw_parts(interface.argument_types, count) };
        Self { types, places }
    }

    /// An argument that is a pointer or an integer, as a number without a sign; `None` for a negative
    /// one of 32 bits, and for one of another kind.
    pub(super) fn number(self, index: usize) -> Option<usize> {
        // SAFETY: as in `of_kinds`.
        let kind = unsafe { (**self.types.get(index)?).kind };
        let place = word_at(self.places + index * WORD);
        match kind {
            kind::POINTER | kind::UINT64 | kind::SINT64 => Some(word_at(place)),
            kind::UINT32 => Some(half_word_at(place)),
            kind::INT | kind::SINT32 => Some(half_word_at(place)).filter(|half| half >> 31 == 0),
            _ => None,
        }
    }

    /// The arguments that are pointers.
    pub(super) fn pointers(self) -> impl Iterator<Item = usize> {
        self.of_kinds(&[kind::POINTER])
    }

    /// The arguments that are pointers or integers of 32 bits.
    pub(super) fn pointers_and_half_words(self) -> impl Iterator<Item = usize> {
        self.of_kinds(&[kind::POINTER, kind::INT, kind::SINT32, kind::UINT32])
    }

    /// The words of structures passed by value: any of them may be a pointer.
    pub(super) fn structure_words(self) -> impl Iterator<Item = usize> {
        self.types
            .iter()
            .enumerate()
            .flat_map(move |(index, &argument_type)| {
                // SAFETY: as in `of_kinds`.
                let value = unsafe { *argument_type };
                let place = word_at(self.places + index * WORD);
                let is_structure = value.kind == kind::STRUCTURE;
                let byte_count = if is_structure { value.byte_count } else { 0 };
                (0..byte_count / WORD).map(move |word| word_at(place + word * WORD))
            })
    }

    fn of_kinds(self, wanted: &'static [u16]) -> impl Iterator<Item = usize> {
        self.types
            .iter()
            .enumerate()
            .filter_map(move |(index, &argument_type)| {
                // SAFETY: libffi's contract: each entry points at a type that outlives the call.
                let kind = unsafe { (*argument_type).kind };
                let place = word_at(self.places + index * WORD);
                match kind {
                    _ if !wanted.contains(&kind) => None,
                    kind::POINTER => Some(word_at(place)),
                    _ => Some(half_word_at(place)),
                }
            })
    }
}

/// A word that libffi or its caller stored: a result (never less than a word), a pointer argument,
/// or an entry of the array of places.
#[inline]
pub(super) fn word_at(place: usize) -> usize {
    let place = std::ptr::with_exposed_provenance::<usize>(place);
    // SAFETY: the callers name places of at least a word in the description of a call.
    unsafe { place.read_unaligned() }
}

fn half_word_at(place: usize) -> usize {
    let place = std::ptr::with_exposed_provenance::<u32>(place);
    // SAFETY: the argument's type says that its place has 32 bits.
    let half = unsafe { place.read_unaligned() };
    usize::try_from(half).unwrap_or_default()
}

const _: () = assert!(size_of::<ValueType>() == 24, "ffi_type");
const _: () = assert!(size_of::<CallInterface>() == 24, "the head of ffi_cif");
