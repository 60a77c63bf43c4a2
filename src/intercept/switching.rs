//! greenlet's `PyMem_Free`: called on a stack that the interpreter does not know yet.

use super::entry::Frame;
use super::functions::Function;
use super::real::Real;
use super::targets::Variant;
use crate::capture::without_python_frames;

/// `void PyMem_Free(void *pointer)`, which ends in `free`: the block is looked up as always, and the
/// release has no Python stack.
pub(super) extern "C-unwind" fn python_free(pointer: usize, _frame: Frame, variant: Variant) {
    without_python_frames(|| Real::of(Function::PythonFree, variant).call1(pointer));
}
