//! The C interface with hostile pointers and sizes, against what this program knows of its own blocks:
//! no crash, a block that is live is described as it is, and its contents stay.

#![no_main]

use heapledger::ffi::HlStatus;
use heapledger::ffi::alloc::{hl_aligned_alloc, hl_calloc, hl_free, hl_malloc, hl_realloc};
use heapledger::ffi::ownership::{hl_adopt, hl_disown, hl_release};
use heapledger::ffi::query::{HlBlockInfo, hl_describe};
use heapledger::ffi::session::hl_check;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::ffi::c_void;
use std::mem::size_of;

/// Blocks held at once; the first is thrown out for the next.
const HELD_MAX: usize = 16;
/// Larger requests are for their answer, not for their memory.
const SIZE_MAX: usize = 1 << 20;

#[derive(Arbitrary, Debug)]
enum Size {
    Small(u8),
    Middle(u16),
    Any(usize),
}

#[derive(Arbitrary, Debug)]
enum Pointer {
    Null,
    Any(usize),
    Stack,
    Code,
    Inside(u8, u8),
    Released(u8),
}

#[derive(Arbitrary, Debug)]
enum Step {
    Allocate(Size),
    Calloc(Size, Size),
    Align(u8, Size),
    Resize(u8, Size),
    Free(u8),
    FreeWrongly(Pointer),
    ReallocWrongly(Pointer, Size),
    Describe(Pointer),
    Adopt(Pointer, Size),
    Disown(Pointer),
    Release(Pointer, u32),
    Check,
}

struct Block {
    address: *mut u8,
    size: usize,
    mark: u8,
}

#[derive(Default)]
struct Program {
    held: Vec<Block>,
    released: Vec<usize>,
    next_mark: u8,
}

impl Size {
    fn get(&self) -> usize {
        match *self {
            Self::Small(size) => size.into(),
            Self::Middle(size) => size.into(),
            Self::Any(size) => size,
        }
    }
}

impl Program {
    fn pointer(&self, pointer: &Pointer) -> *mut c_void {
        let local = 0_u8;
        let address = match *pointer {
            Pointer::Null => 0,
            Pointer::Any(address) => address,
            Pointer::Stack => (&raw const local).addr(),
            Pointer::Code => (hl_check as *const ()).addr(),
            Pointer::Inside(which, offset) => self.chosen(which).map_or(0, |index| {
                let block = &self.held[index];
                block.address.addr() + 1 + usize::from(offset) % block.size.max(2).saturating_sub(1)
            }),
            Pointer::Released(which) => match self.released.len() {
                0 => 0,
                count => self.released[usize::from(which) % count],
            },
        };
        // A block that is held is released where it is meant, in `Step::Free`.
        let is_held = self
            .held
            .iter()
            .any(|block| block.address.addr() == address);
        std::ptr::with_exposed_provenance_mut(if is_held { 0 } else { address })
    }

    fn chosen(&self, which: u8) -> Option<usize> {
        (!self.held.is_empty()).then(|| usize::from(which) % self.held.len())
    }

    fn hold(&mut self, address: *mut c_void, size: usize) {
        if address.is_null() {
            assert!(size > SIZE_MAX, "{size} bytes were refused");
            return;
        }
        self.released
            .retain(|&released| released != address.expose_provenance());
        if size > SIZE_MAX {
            hl_free(address);
            return;
        }
        if self.held.len() == HELD_MAX {
            self.free(0);
        }
        self.next_mark = self.next_mark.wrapping_add(1);
        let block = Block {
            address: address.cast(),
            size,
            mark: self.next_mark,
        };
        // SAFETY: the block was just given to us with this size.
        unsafe { block.address.write_bytes(block.mark, size) };
        self.held.push(block);
    }

    fn verify(block: &Block, size: usize) {
        // SAFETY: the block is held, and `size` bytes of it were written in `hold`.
        let bytes = unsafe { std::slice::from_raw_parts(block.address, size) };
        assert!(
            bytes.iter().all(|&byte| byte == block.mark),
            "our bytes were changed"
        );
    }

    fn free(&mut self, index: usize) {
        let block = self.held.swap_remove(index);
        Self::verify(&block, block.size);
        hl_free(block.address.cast());
        self.released.push(block.address.addr());
    }

    fn resize(&mut self, index: usize, size: usize) {
        let block = self.held.swap_remove(index);
        Self::verify(&block, block.size);
        let moved = hl_realloc(block.address.cast(), size);
        if moved.is_null() && size != 0 {
            self.held.push(block);
            return;
        }
        self.released.push(block.address.addr());
        if !moved.is_null() {
            let kept = Block {
                address: moved.cast(),
                ..block
            };
            Self::verify(&kept, block.size.min(size));
            self.hold(moved, size);
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Allocate(size) => self.hold(hl_malloc(size.get()), size.get()),
            Step::Calloc(count, size) => {
                let product = count.get().checked_mul(size.get());
                self.hold(
                    hl_calloc(count.get(), size.get()),
                    product.unwrap_or(usize::MAX),
                );
            }
            Step::Align(alignment, size) => {
                let alignment = 1_usize << (alignment % 13);
                let block = hl_aligned_alloc(alignment, size.get());
                assert!(block.addr() % alignment == 0);
                self.hold(block, size.get());
            }
            Step::Resize(which, size) => {
                if let Some(index) = self.chosen(*which) {
                    self.resize(index, size.get());
                }
            }
            Step::Free(which) => {
                if let Some(index) = self.chosen(*which) {
                    self.free(index);
                }
            }
            Step::FreeWrongly(pointer) => hl_free(self.pointer(pointer)),
            Step::ReallocWrongly(pointer, size) => {
                let pointer = self.pointer(pointer);
                let block = hl_realloc(pointer, size.get());
                assert!(
                    pointer.is_null() || block.is_null(),
                    "a wrong pointer was resized"
                );
                hl_free(block);
            }
            Step::Describe(pointer) => self.describe(pointer),
            Step::Adopt(pointer, size) => self.adopt(pointer, size),
            Step::Disown(pointer) => {
                hl_disown(self.pointer(pointer));
            }
            Step::Release(pointer, family) => {
                hl_release(self.pointer(pointer), *family);
            }
            Step::Check => {
                hl_check();
            }
        }
    }

    /// Memory outside our blocks is adopted for a moment.
    fn adopt(&self, pointer: &Pointer, size: &Size) {
        let pointer = self.pointer(pointer);
        if hl_adopt(pointer, size.get()) == HlStatus::Ok {
            assert!(!pointer.is_null());
            assert_eq!(hl_disown(pointer), HlStatus::Ok);
        }
    }

    fn describe(&self, pointer: &Pointer) {
        let pointer = self.pointer(pointer).cast_const();
        // SAFETY: all zeroes is a value of each field.
        let mut info: HlBlockInfo = unsafe { std::mem::zeroed() };
        info.struct_size = size_of::<HlBlockInfo>() as u64;
        // SAFETY: `info` is a place for the answer.
        let status = unsafe { hl_describe(pointer, &raw mut info) };
        let inside = self.held.iter().find(|block| {
            (block.address.addr()..block.address.addr() + block.size).contains(&pointer.addr())
        });
        if let Some(block) = inside {
            assert_eq!(status, HlStatus::Ok);
            assert_eq!(
                (info.address, info.size),
                (block.address.addr() as u64, block.size as u64)
            );
            assert_eq!(info.state, 1, "live");
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let mut program = Program::default();
    for step in &steps {
        program.take(step);
    }
    while !program.held.is_empty() {
        program.free(0);
    }
});
