//! Owns the C interface: every function that other languages call, and nothing else.
//!
//! Each export has one shape: check the pointers, call one inner function, write outputs only on
//! success, return an [`HlStatus`]; inputs first, outputs last. All of it runs inside
//! [`barrier`], so that a mistake of ours never unwinds into foreign code.
//! `include/heapledger.h` is generated from these files, `docs/abi.md` states the conventions, and
//! `tests/abi.rs` reads every export.
//!
//! Must never: contain logic, hold a lock while calling the program, or trust a pointer.

pub mod alloc;
mod bar;
pub mod barrier;
pub mod callbacks;
mod caller;
pub mod doctor;
pub mod families;
pub mod lifecycle;
pub mod ownership;
pub mod pointers;
pub mod python;
pub mod query;
pub mod reports;
pub mod session;
pub mod status;
pub mod symbolize;
pub mod version;

pub use status::HlStatus;
