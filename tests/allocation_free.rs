//! The hot path allocates nothing: not from our own heap, and from glibc only what the program
//! asked for. "Hot" is an event whose stack has been seen before.
//!
//! `malloc` and its kin are hidden symbols of this program, so that they count the calls of our own
//! code (which is linked into it) and of nobody else; own heap and ledger count for themselves.
//! There is no test harness, for the counts are the process's: its thread would be counted too.

#![expect(unsafe_code, reason = "stands in front of malloc, and calls C")]

use heapledger::ffi::alloc::{hl_calloc, hl_free, hl_malloc, hl_realloc};
use heapledger::intercept;
use heapledger::memory::own_heap::allocation_count;
use heapledger::tracker::options::Options;
use heapledger::tracker::session::Scope;
use heapledger::tracker::tracker;
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

const ROUND_COUNT: u64 = 20_000;

static GLIBC_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
}

std::arch::global_asm!(
    ".hidden malloc",
    ".hidden calloc",
    ".hidden realloc",
    ".hidden posix_memalign",
);

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    GLIBC_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: passed on as it came.
    unsafe { __libc_malloc(size) }
}

#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    GLIBC_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: passed on as it came.
    unsafe { __libc_calloc(count, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    GLIBC_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: passed on as it came.
    unsafe { __libc_realloc(block, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(
    place: *mut *mut c_void,
    alignment: usize,
    size: usize,
) -> c_int {
    GLIBC_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: passed on as it came.
    let block = unsafe { __libc_memalign(alignment, size) };
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller passes a place for one pointer.
    unsafe { place.write(block) };
    0
}

/// What a stretch of work allocated: from our own heap, and from glibc by our own code.
fn allocated_by(work: impl Fn()) -> (u64, u64) {
    let before = (
        allocation_count(),
        GLIBC_ALLOCATIONS.load(Ordering::Relaxed),
    );
    work();
    (
        allocation_count() - before.0,
        GLIBC_ALLOCATIONS.load(Ordering::Relaxed) - before.1,
    )
}

fn main() {
    // The first round sees the stacks, and takes a corner and records.
    explicit_rounds(1_100);
    let explicit = allocated_by(|| explicit_rounds(ROUND_COUNT));
    assert_eq!(
        explicit,
        (0, 3 * ROUND_COUNT),
        "the program's own and no other"
    );

    let churn = c_function("churn");
    let options = Options::new().with("scope=process").expect("valid options");
    let tracker = tracker().expect("address space for a tracker");
    tracker.start(options).expect("nobody has started");
    assert!(intercept::install(Scope::Process).expect("not forked") > 0);
    let total = || tracker.statistics().sums.total_blocks;
    let before = total();
    let count = c_int::try_from(ROUND_COUNT).expect("a small number");
    // One place in the code, so that the second time is the same stack to its outermost frame.
    let stretches: Vec<_> = (0..3).map(|_| allocated_by(|| churn(count))).collect();
    assert_eq!(
        total() - before,
        3 * 3 * ROUND_COUNT,
        "every block was recorded"
    );
    // A block that grows moves: the one new block of each round that the program's `realloc` asked for
    // is allocated by us.
    let moved = (0, ROUND_COUNT);
    assert_ne!(stretches[0], moved, "a stack that is new is stored");
    assert_eq!(stretches[1..], [moved, moved]);
    intercept::remove();
    assert_eq!(tracker.statistics().findings.iter().sum::<u64>(), 0);
}

/// Three allocations and two releases each; what is withheld is given back in turn.
#[inline(never)]
fn explicit_rounds(count: u64) {
    for round in 0..count {
        let size = 16 + usize::try_from(round % 50).expect("small");
        let first = hl_malloc(size);
        let second = hl_calloc(2, size);
        let moved = hl_realloc(first, 3 * size);
        assert!(!moved.is_null() && !second.is_null());
        hl_free(moved);
        hl_free(second);
    }
}

const SOURCE: &str = r"
#include <stdlib.h>
void churn(int count) {
    for (int round = 0; round < count; ++round) {
        void *first = malloc(16 + round % 50);
        void *second = calloc(2, 16 + round % 50);
        first = realloc(first, 400);
        free(first);
        free(second);
    }
}
";

/// Compiles and loads the library, whose calls lead to glibc until they are intercepted.
fn c_function(name: &str) -> extern "C" fn(c_int) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (source, library) = (folder.join("churn.c"), folder.join("libchurn.so"));
    std::fs::write(&source, SOURCE).expect("the folder for tests can be written");
    let arguments = ["-shared", "-fPIC", "-O1", "-fno-builtin", "-o"].map(Path::new);
    let mut compiler = Command::new("cc");
    compiler.args(arguments).args([&library, &source]);
    assert!(compiler.status().expect("a C compiler").success());
    let path = CString::new(library.into_os_string().into_encoded_bytes()).expect("no zero");
    // SAFETY: the library has no constructors.
    let handle = unsafe { libc::dlopen(path.as_ptr().cast::<c_char>(), libc::RTLD_NOW) };
    let name = CString::new(name).expect("no zero");
    // SAFETY: the handle was just opened, or is null, which dlsym refuses.
    let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!found.is_null());
    // SAFETY: the source above defines this function with this signature.
    unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(c_int)>(found) }
}
