//! Owns raw memory: pages from the kernel, tables and arenas over them, the page map, our own
//! heap, and the thread's reentry flag.
//!
//! Promises: an address handed out stays mapped until exit; a table starts zeroed; a failed
//! request is `None`, never an abort. Nothing here calls glibc's allocator.
//!
//! Must never: allocate through `malloc`, log, block on a lock that another layer holds, or know
//! what the memory is used for.

pub mod address;
pub mod arena;
pub mod descriptors;
pub mod fork;
pub mod loaded_list;
pub mod lock;
pub mod own_heap;
pub mod own_ranges;
pub mod own_stack;
pub mod page_map;
pub mod pages;
pub mod peek;
pub mod peek_many;
pub mod prefetch;
pub mod reentry;
pub mod refusal;
pub mod regions;
pub mod reserve;
pub mod stretch;
pub mod sync;
pub mod table;
pub mod thread_exit;
pub mod thread_local;
pub mod thread_specific;
pub mod writable;
pub mod write_signals;

pub use address::{Address, ByteCount, FrameAddress};
