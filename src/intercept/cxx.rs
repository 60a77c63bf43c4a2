//! The C++ operators.
//!
//! The real operator is called, the program's own where it replaced it: new handlers run, and
//! `std::bad_alloc` passes through. What the operator itself gets from `malloc` is part of the
//! block it gives.

#![expect(
    clippy::inline_always,
    reason = "the path of every recorded allocation, which knows its operator"
)]

use super::allocator::{place_guarded, record_new, room};
use super::entry::Frame;
use super::functions::Function;
use super::gate;
use super::outer::{self, Outer};
use super::real::Real;
use super::release;
use super::targets::Variant;
use crate::memory::reentry::is_our_own_work;

/// Defines the `operator new` of one row; the arguments after the size are passed on as they are.
macro_rules! operator_new {
    ($name:ident, $row:ident, $call:ident $(, $extra:ident)*) => {
        /// `operator new`
        pub(super) extern "C-unwind" fn $name(
            size: usize,
            $($extra: usize,)*
            frame: Frame,
            variant: Variant,
        ) -> usize {
            let real = Real::of(Function::$row, variant);
            if !gate::is_watching() {
                return real.$call(size $(, $extra)*);
            }
            allocate_object(real, frame, size, |size| real.$call(size $(, $extra)*))
        }
    };
}

/// Defines the `operator delete` of one row.
macro_rules! operator_delete {
    ($name:ident, $row:ident, $call:ident $(, $extra:ident)*) => {
        /// `operator delete`
        pub(super) extern "C-unwind" fn $name(
            block: usize,
            $($extra: usize,)*
            frame: Frame,
            variant: Variant,
        ) {
            let real = Real::of(Function::$row, variant);
            if release::is_to_be_executed(real, block, frame) {
                // What the operator releases with `free` is this block, or its own affair.
                let _outer = Outer::begin(frame);
                real.$call(block $(, $extra)*);
            }
        }
    };
}

operator_new!(new, New, call1);
operator_new!(new_nothrow, NewNothrow, call2, nothrow);
operator_new!(new_aligned, NewAligned, call2, alignment);
operator_new!(
    new_aligned_nothrow,
    NewAlignedNothrow,
    call3,
    alignment,
    nothrow
);
operator_new!(new_array, NewArray, call1);
operator_new!(new_array_nothrow, NewArrayNothrow, call2, nothrow);
operator_new!(new_array_aligned, NewArrayAligned, call2, alignment);
operator_new!(
    new_array_aligned_nothrow,
    NewArrayAlignedNothrow,
    call3,
    alignment,
    nothrow
);

operator_delete!(delete, Delete, call1);
operator_delete!(delete_sized, DeleteSized, call2, size);
operator_delete!(delete_nothrow, DeleteNothrow, call2, nothrow);
operator_delete!(delete_aligned, DeleteAligned, call2, alignment);
operator_delete!(
    delete_sized_aligned,
    DeleteSizedAligned,
    call3,
    size,
    alignment
);
operator_delete!(
    delete_aligned_nothrow,
    DeleteAlignedNothrow,
    call3,
    alignment,
    nothrow
);
operator_delete!(delete_array, DeleteArray, call1);
operator_delete!(delete_array_sized, DeleteArraySized, call2, size);
operator_delete!(delete_array_nothrow, DeleteArrayNothrow, call2, nothrow);
operator_delete!(delete_array_aligned, DeleteArrayAligned, call2, alignment);
operator_delete!(
    delete_array_sized_aligned,
    DeleteArraySizedAligned,
    call3,
    size,
    alignment
);
operator_delete!(
    delete_array_aligned_nothrow,
    DeleteArrayAlignedNothrow,
    call3,
    alignment,
    nothrow
);

/// Allocates with `call`, as one block of the operator's family.
#[inline(always)]
fn allocate_object(
    real: Real,
    frame: Frame,
    size: usize,
    call: impl FnOnce(usize) -> usize,
) -> usize {
    if is_our_own_work() || outer::is_part_of_another_call(frame) {
        return call(size);
    }
    let family = if real.is_inner() {
        gate::inner_family(frame, real.function().family())
    } else {
        real.function().family()
    };
    let admission = gate::admit(frame, family);
    let room = admission
        .as_ref()
        .and_then(|admission| room(real, Some(size), admission));
    if let (Some(admission), Some(_)) = (&admission, room)
        && let Some(block) = place_guarded(real, size, admission)
    {
        return block;
    }
    let asked = room.map_or(size, |(_, room)| room.byte_count);
    let block = {
        // Also when the block is not recorded: then what lies under it is not either.
        let _outer = Outer::begin(frame);
        call(asked)
    };
    if let (Some(admission), Some((size, room)), true) = (&admission, room, block != 0) {
        return record_new(real, block, (size, room), admission);
    }
    block
}
