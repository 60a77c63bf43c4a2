//! The other way to see ctypes' calls: `tp_call` of its function types.
//!
//! Where libffi is part of the interpreter, no slot leads to `ffi_call`. Then the function that
//! calls a ctypes function object is replaced in `CFuncPtr`, in every type derived from it, and in
//! the descriptor that types made later take it from. There is no description of the arguments, so
//! their objects are searched for addresses of what the call may have filled in.

#![expect(
    unsafe_code,
    reason = "reads and writes type objects of the interpreter"
)]

use std::arch::naked_asm;
use std::ffi::c_int;
use std::ptr::NonNull;

use super::call_results::{Results, mark_result};
use super::called::Called;
use super::entry::Frame;
use super::errno::KeptErrno;
use super::foreign_notes::{ForeignCall, ForeignNotes};
use super::python_api::{Locked, Object, Owned, Python};
use super::truncation::{self, CutCall};
use super::{gate, python};
use crate::memory::Address;
use crate::memory::peek::peek;
use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use crate::tracker;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A `ternaryfunc`.
type TypeCall = unsafe extern "C-unwind" fn(Object, Object, Object) -> Object;

/// The number by which `PyType_GetSlot` knows `tp_call`.
const CALL_SLOT: c_int = 50;
/// Function types followed; each library that ctypes opens makes one.
const TYPE_COUNT_MAX: usize = 16_384;

/// Arguments looked at, and words of each of their objects.
const ARGUMENT_COUNT_MAX: usize = 32;
const OBJECT_WORD_COUNT: usize = 8;
const WORD: usize = size_of::<usize>();

/// What ctypes' types held; zero while they were not looked at. Never forgotten: a call may be on
/// its way through our function when the types are put back.
static REAL: AtomicUsize = AtomicUsize::new(0);
static IS_ACTIVE: AtomicUsize = AtomicUsize::new(0);
/// Whether objects have the head of a build without the global lock; set before the first type is
/// changed.
static IS_FREE_THREADED: AtomicUsize = AtomicUsize::new(0);

/// Where the fields lie that are read and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Layout {
    /// From an object to its type.
    type_of: usize,
    /// From an object to what follows its head.
    head: usize,
    /// From a type to `tp_call`.
    type_call: usize,
    /// From a slot wrapper to the function it wraps.
    wrapped: usize,
}

impl Layout {
    fn of(free_threaded: bool) -> Self {
        let (type_of, head) = if free_threaded { (24, 32) } else { (8, 16) };
        // A type begins with a size after its head; `tp_call` is its fourteenth slot.
        Self {
            type_of,
            head,
            type_call: head + 8 + 13 * 8,
            wrapped: head + 4 * 8,
        }
    }

    /// The layout that the changed types have.
    fn in_use() -> Self {
        Self::of(IS_FREE_THREADED.load(Ordering::Relaxed) != 0)
    }
}

/// Why ctypes' types were not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// There is no interpreter, or its lock cannot be had now.
    NoInterpreter,
    /// Nobody has imported `_ctypes` yet.
    NotImported,
    /// The interpreter's layout is not the one we know.
    UnknownLayout,
}

/// Whether the types are changed.
pub(super) fn is_active() -> bool {
    IS_ACTIVE.load(Ordering::Acquire) != 0
}

/// Changes the types, on a thread that holds the interpreter's lock already.
pub(super) fn begin_if_locked() -> Result<usize, Refusal> {
    let python = Python::find().ok_or(Refusal::NoInterpreter)?;
    begin_with(
        &python.locked_already().ok_or(Refusal::NoInterpreter)?,
        python,
    )
}

/// Changes the types; waits for the interpreter's lock.
pub(super) fn begin() -> Result<usize, Refusal> {
    let python = Python::find().ok_or(Refusal::NoInterpreter)?;
    begin_with(&python.lock().ok_or(Refusal::NoInterpreter)?, python)
}

fn begin_with(locked: &Locked<'_>, python: &Python) -> Result<usize, Refusal> {
    if locked.has_error() {
        return Err(Refusal::NoInterpreter);
    }
    let module = locked.imported(c"_ctypes").ok_or(Refusal::NotImported)?;
    let base = module.attribute(c"CFuncPtr").ok_or(Refusal::NotImported)?;
    let layout = known_layout(locked, &base, python).ok_or(Refusal::UnknownLayout)?;
    let real = locked.type_slot(base.object(), CALL_SLOT);
    let ours = entry as *const () as usize;
    if real != ours {
        let free_threaded = layout == Layout::of(true);
        IS_FREE_THREADED.store(usize::from(free_threaded), Ordering::Relaxed);
        REAL.store(real, Ordering::Release);
    }
    let count = exchange(&base, layout, REAL.load(Ordering::Acquire), ours);
    IS_ACTIVE.store(1, Ordering::Release);
    Ok(count)
}

/// Puts back what the types held.
pub(super) fn end() {
    let real = REAL.load(Ordering::Acquire);
    let Some(python) = Python::find().filter(|_| is_active()) else {
        return;
    };
    let Some(locked) = python.lock().filter(|locked| !locked.has_error()) else {
        return;
    };
    let Some(module) = locked.imported(c"_ctypes") else {
        return;
    };
    let Some(base) = module.attribute(c"CFuncPtr") else {
        return;
    };
    exchange(&base, Layout::in_use(), entry as *const () as usize, real);
    IS_ACTIVE.store(0, Ordering::Release);
}

/// The layout, when what it says of `CFuncPtr` is what the interpreter says.
fn known_layout(locked: &Locked<'_>, base: &Owned<'_>, python: &Python) -> Option<Layout> {
    if !python.is_known_version() {
        return None;
    }
    let real = locked.type_slot(base.object(), CALL_SLOT);
    let descriptor = base.attribute(c"__call__")?;
    let holds = |object: Object, offset| word(object, offset).load(Ordering::Relaxed);
    [Layout::of(false), Layout::of(true)]
        .into_iter()
        .find(|layout| {
            real != 0
                && holds(base.object(), layout.type_call) == real
                && holds(descriptor.object(), layout.wrapped) == real
        })
}

/// Replaces `from` by `to` in the descriptor, in the type and in those derived from it. Returns in
/// how many places.
fn exchange(base: &Owned<'_>, layout: Layout, from: usize, to: usize) -> usize {
    let mut count = 0;
    let mut replace = |object: Object, offset: usize| {
        let place = word(object, offset);
        let done = place.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
        count += usize::from(done.is_ok());
    };
    // First where later types take it from.
    if let Some(descriptor) = base.attribute(c"__call__") {
        replace(descriptor.object(), layout.wrapped);
    }
    replace(base.object(), layout.type_call);
    let mut lists = vec![
        base.attribute(c"__subclasses__")
            .and_then(|method| method.call()),
    ];
    let mut seen = 0;
    while let Some(Some(list)) = lists.pop() {
        for derived in list.items() {
            replace(derived, layout.type_call);
            seen += 1;
            if seen < TYPE_COUNT_MAX {
                lists.push(subclasses_of(&list, derived));
            }
        }
    }
    count
}

fn subclasses_of<'lock>(list: &Owned<'lock>, derived: Object) -> Option<Owned<'lock>> {
    list.borrowed(derived)?.attribute(c"__subclasses__")?.call()
}

/// A word of an object.
fn word<'object>(object: Object, offset: usize) -> &'object AtomicUsize {
    let place = object.wrapping_byte_add(offset).cast::<usize>();
    // SAFETY: the callers hold a reference to a type object or a slot wrapper, which have words at
    // these offsets in every version that `known_layout` lets through; the interpreter reads and
    // writes them as single words.
    unsafe { AtomicUsize::from_ptr(place) }
}

/// What the types hold: adds the place of the return address and the frame pointer.
///
/// # Safety
/// * Called by the interpreter as `tp_call` of a function type of ctypes.
#[unsafe(naked)]
unsafe extern "C-unwind" fn entry(_function: Object, _arguments: Object, _names: Object) -> Object {
    naked_asm!(
        ".cfi_startproc",
        "endbr64",
        "mov rcx, rsp",
        "mov r8, rbp",
        "jmp {ours}",
        ".cfi_endproc",
        ours = sym call,
    )
}

extern "C-unwind" fn call(
    object: Object,
    arguments: Object,
    names: Object,
    frame: Frame,
) -> Object {
    if !gate::is_on() || is_our_own_work() {
        return execute(object, arguments, names);
    }
    // The address of the function is the first thing a ctypes object refers to.
    let contents = word(object, Layout::in_use().head).load(Ordering::Relaxed);
    let place = std::ptr::with_exposed_provenance::<usize>(contents);
    let function = if contents == 0 {
        0
    } else {
        // SAFETY: every ctypes object refers to its contents, and a function's are its address.
        unsafe { place.read() }
    };
    let Some(called) = Called::look(function) else {
        return execute(object, arguments, names);
    };
    let (state, top) = python::thread_state_and_top();
    let mut notes = ForeignNotes::new(called.is_direct, top).made_by_type(function);
    let notes = NonNull::from(&mut notes);
    let _call = ForeignCall::begin(notes, called.id, frame, state);
    if truncation::is_waiting() {
        look_at_arguments(Objects {
            arguments,
            result: std::ptr::null_mut(),
        });
    }
    let result = execute(object, arguments, names);
    // SAFETY: the notes lie in this frame, and the call that added to them is over.
    look_at_results(function, Objects { arguments, result }, unsafe {
        notes.as_ref()
    });
    result
}

fn execute(object: Object, arguments: Object, names: Object) -> Object {
    let real = std::ptr::with_exposed_provenance::<()>(REAL.load(Ordering::Acquire));
    // SAFETY: `begin_with` stored what the types held, which is of this type, before it changed
    // the first one.
    let real: TypeCall = unsafe { std::mem::transmute(real) };
    // SAFETY: passed on as the interpreter passed it.
    unsafe { real(object, arguments, names) }
}

/// What a call was given and gave, as objects of the interpreter.
#[derive(Clone, Copy)]
struct Objects {
    arguments: Object,
    result: Object,
}

impl Objects {
    /// The arguments, which the interpreter passes as a tuple.
    fn arguments(self, python: &Python) -> impl Iterator<Item = Object> {
        (0..ARGUMENT_COUNT_MAX).map_while(move |index| {
            // SAFETY: the caller of a type passes a tuple, and holds the interpreter's lock.
            unsafe { python.tuple_item(self.arguments, index) }
        })
    }

    /// Where pointers to memory of the program may be: the words after an object's head. What
    /// `byref` gives has the address there, and every object of ctypes that of its contents.
    fn places_in(object: Object) -> impl Iterator<Item = usize> {
        let start = object.addr() + Layout::in_use().head;
        let mut bytes = [0; OBJECT_WORD_COUNT * WORD];
        let count = if peek(Address::new(start), &mut bytes) {
            OBJECT_WORD_COUNT
        } else {
            0
        };
        (0..count).filter_map(move |index| {
            let word = bytes.get(index * WORD..)?.first_chunk()?;
            Some(usize::from_ne_bytes(*word))
        })
    }
}

/// The value of an `int`; `None` for another object.
fn integer(python: &Python, object: Object) -> Option<u64> {
    let type_of = word(object, Layout::in_use().type_of).load(Ordering::Relaxed);
    // SAFETY: the object is an `int`, and the interpreter called us with its lock held.
    (type_of == python.integer_type()).then(|| unsafe { python.integer_bits(object) })
}

/// Looks at the arguments of a call that is about to be made, when a cut pointer may be among them.
fn look_at_arguments(objects: Objects) {
    let (Some(python), Some(tracker)) = (Python::find(), tracker::existing()) else {
        return;
    };
    let _errno = KeptErrno::keep();
    let _ours = OurOwnWork::begin();
    for value in objects
        .arguments(python)
        .filter_map(|object| integer(python, object))
    {
        truncation::look_at_argument(tracker, usize::try_from(value).unwrap_or_default());
    }
}

/// Looks at the objects of a call that is over.
fn look_at_results(function: usize, objects: Objects, notes: &ForeignNotes) {
    let Some(python) = Python::find().filter(|_| !objects.result.is_null()) else {
        return;
    };
    let value = integer(python, objects.result);
    if value.is_none() && notes.block_count() == 0 {
        return;
    }
    let _errno = KeptErrno::keep();
    let _ours = OurOwnWork::begin();
    let Some(tracker) = tracker::existing() else {
        return;
    };
    let bits = value.unwrap_or_default();
    let pointer = usize::try_from(bits).unwrap_or_default();
    mark_result(tracker, Address::new(pointer), notes);
    if notes.block_count() == 0 {
        return;
    }
    let others = objects.arguments(python).chain([objects.result]);
    let pointers: Vec<usize> = others
        .filter(|&object| integer(python, object).is_none())
        .flat_map(Objects::places_in)
        .collect();
    let results = Results { tracker, notes };
    for &place in &pointers {
        results.look_behind(place);
    }
    if value.is_some() && i32::try_from(bits.cast_signed()).is_ok() {
        let call = CutCall {
            function,
            notes,
            pointers: &pointers,
        };
        truncation::look_at_result(tracker, call, pointer);
    }
}
