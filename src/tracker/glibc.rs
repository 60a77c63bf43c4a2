//! The real allocator: glibc's, called directly, so that our own calls are never intercepted.

#![expect(unsafe_code, reason = "malloc, free and their kin are foreign calls")]

use crate::detect::size_word;
use crate::memory::Address;
use crate::memory::pages::PAGE;
use crate::memory::peek::peek;
use std::ffi::c_void;

/// A pointer for the C interface.
fn pointer(address: Address) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(address.get())
}

fn address(pointer: *mut c_void) -> Option<Address> {
    (!pointer.is_null()).then(|| Address::new(pointer.expose_provenance()))
}

/// Allocates `byte_count` bytes aligned for any C type; `None` when glibc has no memory.
pub(super) fn allocate(byte_count: usize) -> Option<Address> {
    // SAFETY: malloc accepts every size.
    let block = unsafe { libc::malloc(byte_count) };
    // The compiler leaves out an allocation that is only released again: the one that keeps another
    // from the end of the heap (`TopChunk::find`).
    address(std::hint::black_box(block))
}

/// Allocates `byte_count` zeroed bytes.
pub(super) fn allocate_zeroed(byte_count: usize) -> Option<Address> {
    // SAFETY: calloc accepts every size.
    address(unsafe { libc::calloc(1, byte_count) })
}

/// Allocates `byte_count` bytes at a multiple of `alignment`, a power of two of at least a
/// pointer's size.
pub(super) fn allocate_aligned(alignment: usize, byte_count: usize) -> Option<Address> {
    let mut block = std::ptr::null_mut();
    // SAFETY: `block` is a place for one pointer; an alignment glibc dislikes is a status.
    let status = unsafe { libc::posix_memalign(&raw mut block, alignment, byte_count) };
    if status == 0 { address(block) } else { None }
}

/// Resizes a block; `None` when glibc has no memory, and then the block is as it was.
///
/// # Safety
/// * `block` came from this allocator, and the caller won its release in the ledger.
/// * `byte_count` is not zero.
pub(super) unsafe fn resize(block: Address, byte_count: usize) -> Option<Address> {
    // SAFETY: the ledger's compare-and-swap made the caller the only one who may give it back.
    address(unsafe { libc::realloc(pointer(block), byte_count) })
}

/// Gives a block back.
///
/// # Safety
/// * `block` came from this allocator, and the caller won its release, or its eviction from the
///   quarantine, in the ledger.
pub(super) unsafe fn release(block: Address) {
    // SAFETY: the ledger's compare-and-swap made the caller the only one who may give it back.
    unsafe { libc::free(pointer(block)) };
}

/// Allocates `byte_count` bytes and copies there what can be read, page by page, of a block whose size
/// is not known.
pub(super) fn allocate_copy(from: Address, byte_count: usize) -> Option<Address> {
    let to = allocate(byte_count)?;
    let mut done = 0;
    while done < byte_count {
        let on_page = PAGE - (from.get() + done) % PAGE;
        let length = on_page.min(byte_count - done);
        let place = pointer(to.offset_by(done)).cast::<u8>();
        // SAFETY: inside what was allocated above, which nobody else knows; the kernel alone writes it.
        let part = unsafe { std::slice::from_raw_parts_mut(place, length) };
        if !peek(from.offset_by(done), part) {
            break;
        }
        done += length;
    }
    Some(to)
}

/// Whether `malloc` is glibc's own: then each block has glibc's words around it, and may use what they
/// leave. glibc's own checks (`glibc.malloc.check`) keep something of theirs behind a block. Asked of
/// what it does, for the address of `malloc` may be a stub in the program.
pub(super) fn is_the_heap() -> bool {
    const FLAG_BITS: u64 = 7;
    const HEADER: u64 = 8;
    let has_size_in_front = |(byte_count, chunk): (usize, u64)| {
        let Some(block) = allocate(byte_count) else {
            return false;
        };
        let mut word = [0; size_of::<u64>()];
        let is_readable = peek(size_word::place(block), &mut word);
        // SAFETY: allocated above.
        let usable = unsafe { libc::malloc_usable_size(pointer(block)) } as u64;
        // SAFETY: allocated above, and nobody else knows it.
        unsafe { release(block) };
        let size = u64::from_ne_bytes(word) & !FLAG_BITS;
        is_readable && (chunk..chunk + 32).contains(&size) && usable + HEADER == size
    };
    [(24, 32), (40, 48), (1_000, 1_008), (5_000, 5_008)]
        .into_iter()
        .all(has_size_in_front)
}

/// Where the main heap ends: glibc keeps it in a variable, so asking costs no system call.
pub(super) fn heap_end() -> usize {
    // SAFETY: an increment of zero changes nothing.
    unsafe { libc::sbrk(0) }.addr()
}

/// The address of the byte in which glibc (from 2.32 on) notes that the process has one thread; zero
/// where there is none.
pub(super) fn single_threaded_note() -> usize {
    // SAFETY: the name ends with a zero byte.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) }
        .expose_provenance()
}

/// Copies the first bytes of one block to another.
///
/// # Safety
/// * Both blocks have at least `byte_count` bytes and do not overlap, and the program uses neither.
pub(super) unsafe fn copy(from: Address, to: Address, byte_count: usize) {
    let (from, to) = (pointer(from).cast::<u8>(), pointer(to).cast::<u8>());
    // SAFETY: the caller's duties.
    unsafe { to.copy_from_nonoverlapping(from, byte_count) };
}

/// Sets this thread's `errno`.
pub(super) fn set_errno(number: i32) {
    // SAFETY: glibc gives every thread an `errno` of its own for its whole life.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: `place` is that thread's own integer.
    unsafe { place.write(number) };
}

/// Fills a block with zeroes.
///
/// # Safety
/// * `block` has at least `byte_count` bytes, and nobody else has the pointer.
pub(super) unsafe fn zero(block: Address, byte_count: usize) {
    // SAFETY: the caller has just allocated these bytes.
    unsafe { pointer(block).cast::<u8>().write_bytes(0, byte_count) };
}
