//! What naming the stack of an event costs, in a real interpreter that runs inside the benchmark.
//!
//! `cargo bench --bench capture` takes the shared library of the `python3` on the path;
//! `HEAPLEDGER_BENCH_PYTHON=/path/to/libpython3.13.so` chooses another. Rows differ in the number
//! of Python frames. Columns, in ns per event, the fastest and the median of many rounds:
//!
//! * `same line`: the stack is the one of the event before;
//! * `foreign call`: the same, inside a foreign call that has already had an event;
//! * `unhooked`: nothing may be remembered; every frame is read and looked up by content.

#![expect(unsafe_code, reason = "loads an interpreter and calls its C interface")]
#![expect(
    clippy::print_stdout,
    reason = "the result of a benchmark is its output"
)]

use heapledger::capture::{Capture, EventPlace, PythonStatus, foreign};
use heapledger::memory::Address;
use std::env;
use std::ffi::{CStr, CString, c_char, c_int};
use std::hint::black_box;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

const ROUND_COUNT: usize = 41;
const EVENTS_PER_ROUND: u32 = 5_000;
/// Reading everything anew is slow enough to be measured with fewer events.
const UNHOOKED_EVENTS_PER_ROUND: u32 = 200;

static CAPTURE: OnceLock<Capture> = OnceLock::new();

fn main() {
    let Some(library) = interpreter_library() else {
        println!("no shared libpython found; set HEAPLEDGER_BENCH_PYTHON");
        return;
    };
    // SAFETY: the path ends with a zero byte; libpython runs no code of its own when loaded.
    let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        println!("{} cannot be loaded", library.to_string_lossy());
        return;
    }
    run_in_interpreter(&script());
}

/// The library to load: chosen by the user, or that of the first `python3`.
fn interpreter_library() -> Option<CString> {
    if let Some(chosen) = env::var_os("HEAPLEDGER_BENCH_PYTHON") {
        return CString::new(chosen.into_encoded_bytes()).ok();
    }
    let ask = "from sysconfig import get_config_var as of; \
               print(of('LIBDIR'), of('INSTSONAME'), sep='/', end='')";
    let answer = Command::new("python3").args(["-c", ask]).output().ok()?;
    CString::new(answer.stdout)
        .ok()
        .filter(|path| !path.is_empty())
}

/// Calls `measure` at several depths.
fn script() -> String {
    format!(
        "import ctypes
measure = ctypes.CFUNCTYPE(None, ctypes.c_uint32)({})
def recurse(depth, total):
    if depth > 1:
        recurse(depth - 1, total)
    else:
        measure(total)
for depth in (1, 10, 30, 60):
    recurse(depth - 1, depth)
",
        (measure as *const ()).expose_provenance()
    )
}

/// `Py_InitializeEx` and `PyRun_SimpleString`.
type Initialize = extern "C" fn(c_int);
type Run = extern "C" fn(*const c_char) -> c_int;

fn run_in_interpreter(script: &str) {
    let Ok(script) = CString::new(script) else {
        return;
    };
    let (Some(initialize), Some(run)) = (symbol(c"Py_InitializeEx"), symbol(c"PyRun_SimpleString"))
    else {
        println!("the library is no Python interpreter");
        return;
    };
    // SAFETY: the symbol has this signature in every version of the stable interface.
    let initialize = unsafe { std::mem::transmute::<*mut u8, Initialize>(initialize) };
    // SAFETY: as above.
    let run = unsafe { std::mem::transmute::<*mut u8, Run>(run) };
    initialize(0);
    run(script.as_ptr());
}

fn symbol(name: &CStr) -> Option<*mut u8> {
    // SAFETY: the name ends with a zero byte.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found.cast())
}

/// Called by the script, with this many Python frames on the stack.
extern "C" fn measure(depth: u32) {
    let Some(capture) = connected() else {
        println!("the interpreter's frames cannot be read");
        return;
    };
    let same = spread(|| nanoseconds_per_event(capture, EVENTS_PER_ROUND));
    let foreign = spread(|| in_a_foreign_call(capture));
    capture.disconnect_python();
    let unhooked = spread(|| nanoseconds_per_event(capture, UNHOOKED_EVENTS_PER_ROUND));
    capture.connect_python();
    println!("| {depth:>6} | {same:>15} | {foreign:>15} | {unhooked:>17} |");
}

fn connected() -> Option<&'static Capture> {
    if let Some(capture) = CAPTURE.get() {
        return Some(capture);
    }
    let capture = CAPTURE.get_or_init(|| Capture::new().unwrap_or_else(|| std::process::exit(1)));
    let PythonStatus::Connected { version, .. } = capture.connect_python() else {
        return None;
    };
    println!("Python {version}, ns per event, fastest / median of {ROUND_COUNT} rounds:\n");
    println!(
        "| frames | {:>15} | {:>15} | {:>17} |",
        "same line", "foreign call", "unhooked"
    );
    println!("|--------|{0:-<17}|{0:-<17}|{0:-<19}|", "");
    Some(capture)
}

fn nanoseconds_per_event(capture: &Capture, event_count: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..event_count {
        black_box(capture.here(black_box(EventPlace::UNKNOWN)));
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(event_count)
}

fn in_a_foreign_call(capture: &Capture) -> f64 {
    let function = Address::of(measure as *const ());
    let here = 0_u8;
    let outer = foreign::enter(
        capture.foreign_function_at(function),
        Address::of(&raw const here),
        capture.thread_state_and_top().0,
    );
    let result =
        black_box(nanoseconds_per_event as fn(&Capture, u32) -> f64)(capture, EVENTS_PER_ROUND);
    foreign::leave(outer);
    result
}

/// The fastest round, which nothing disturbed, and the median.
fn spread(mut round: impl FnMut() -> f64) -> String {
    let mut results: Vec<f64> = (0..ROUND_COUNT).map(|_| round()).collect();
    results.sort_by(f64::total_cmp);
    format!("{:.1} / {:.1}", results[0], results[results.len() / 2])
}
