//! heapledger: a ledger of native memory for Python programs that call C through `ctypes`.
//!
//! One shared object, one ledger. The same `libheapledger.so` is loaded by `ctypes.CDLL`, by
//! `LD_PRELOAD`, and linked by C programs; in one process these are one instance.
//!
//! The layers, lowest first. A module may name only those below it (`tests/layers.rs` holds the
//! table, `docs/architecture.md` explains it):
//!
//! | layer | owns |
//! |---|---|
//! | [`memory`] | raw pages, arenas, the page map, the reentry flag |
//! | [`ledger`] | what is known about each address |
//! | [`capture`] | where an event came from: Python, foreign function, native caller |
//! | [`detect`] | what is wrong with an event |
//! | [`tracker`] | the order of steps for one event; sessions |
//! | [`report`] | plain data in, bytes out |
//! | [`intercept`] | receiving calls meant for others |
//! | [`ffi`] | the C interface; no logic |

pub mod capture;
pub mod detect;
pub mod ffi;
pub mod intercept;
pub mod ledger;
pub mod memory;
pub mod report;
pub mod tracker;
