//! The few functions of the interpreter that are needed to look at `ctypes`' types. All of them are
//! looked up by name: this library is not linked with an interpreter.

#![expect(unsafe_code, reason = "calls the interpreter's C interface")]

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::sync::OnceLock;

/// A `PyObject *`; null where a function failed.
pub(super) type Object = *mut c_void;

/// Defines the functions and how each is looked up.
macro_rules! functions {
    ($($name:ident: $symbol:literal fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The interpreter's functions.
        #[derive(Clone, Copy, Debug)]
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Functions {
            fn find() -> Option<Self> {
                Some(Self {
                    $($name: {
                        let found = symbol($symbol)?;
                        // SAFETY: the interpreter's documented interface gives the function with
                        // this name this type, in every version since 3.11.
                        unsafe {
                            std::mem::transmute::<
                                *mut c_void,
                                unsafe extern "C" fn($($argument),*) $(-> $result)?,
                            >(found)
                        }
                    },)*
                })
            }
        }
    };
}

functions! {
    is_initialized: c"Py_IsInitialized" fn() -> c_int;
    holds_lock: c"PyGILState_Check" fn() -> c_int;
    take_lock: c"PyGILState_Ensure" fn() -> c_int;
    give_lock: c"PyGILState_Release" fn(c_int);
    text: c"PyUnicode_FromString" fn(*const c_char) -> Object;
    imported: c"PyImport_GetModule" fn(Object) -> Object;
    attribute: c"PyObject_GetAttrString" fn(Object, *const c_char) -> Object;
    call: c"PyObject_CallNoArgs" fn(Object) -> Object;
    list_length: c"PyList_Size" fn(Object) -> isize;
    list_item: c"PyList_GetItem" fn(Object, isize) -> Object;
    tuple_length: c"PyTuple_Size" fn(Object) -> isize;
    tuple_item: c"PyTuple_GetItem" fn(Object, isize) -> Object;
    keep: c"Py_IncRef" fn(Object);
    release: c"Py_DecRef" fn(Object);
    has_error: c"PyErr_Occurred" fn() -> Object;
    forget_error: c"PyErr_Clear" fn();
    type_slot: c"PyType_GetSlot" fn(Object, c_int) -> *mut c_void;
    integer_bits: c"PyLong_AsUnsignedLongLongMask" fn(Object) -> u64;
}

/// The interpreter, and the type that results are compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Python {
    functions: Functions,
    integer_type: usize,
    version: c_long,
}

/// The interpreter's lock, held until this is dropped. Also the proof that the calls below need.
#[derive(Debug)]
pub(super) struct Locked<'python> {
    python: &'python Python,
    /// What the interpreter wants back; `None` when the lock was held before.
    taken: Option<c_int>,
}

/// A reference to an object that is given back.
#[derive(Debug)]
pub(super) struct Owned<'lock> {
    locked: &'lock Locked<'lock>,
    object: Object,
}

fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name is a C string; the handle means every object loaded for global use. Our own
    // slots are not rewritten, so this is the real function.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

impl Python {
    /// The interpreter of this process, if there is one; looked for until it is found.
    pub(super) fn find() -> Option<&'static Self> {
        static FOUND: OnceLock<Python> = OnceLock::new();
        if let Some(python) = FOUND.get() {
            return Some(python);
        }
        let version = symbol(c"Py_Version")?.cast::<c_long>();
        let python = Self {
            functions: Functions::find()?,
            integer_type: symbol(c"PyLong_Type")?.addr(),
            // SAFETY: an exported constant of this type since 3.11.
            version: unsafe { version.read() },
        };
        Some(FOUND.get_or_init(|| python))
    }

    /// Whether the version is one whose layouts are known: 3.11 to 3.15.
    pub(super) fn is_known_version(&self) -> bool {
        (0x030b..=0x030f).contains(&(self.version >> 16))
    }

    /// Whether the interpreter is at its end (or at its beginning).
    pub(super) fn is_without_program(&self) -> bool {
        // SAFETY: may be called at any time.
        unsafe { (self.functions.is_initialized)() == 0 }
    }

    /// The address of `int`.
    pub(super) fn integer_type(&self) -> usize {
        self.integer_type
    }

    /// The lower bits of an `int`.
    ///
    /// # Safety
    /// * `integer` is an object of the type `int`, and the calling thread holds the lock.
    pub(super) unsafe fn integer_bits(&self, integer: Object) -> u64 {
        // SAFETY: the caller's duties.
        unsafe { (self.functions.integer_bits)(integer) }
    }

    /// An item of a tuple, borrowed from it; `None` past its end.
    ///
    /// # Safety
    /// * `tuple` is an object of the type `tuple`, and the calling thread holds the lock.
    pub(super) unsafe fn tuple_item(&self, tuple: Object, index: usize) -> Option<Object> {
        // SAFETY: the caller's duties.
        let length = unsafe { (self.functions.tuple_length)(tuple) };
        let index = isize::try_from(index).ok().filter(|&at| at < length)?;
        // SAFETY: the caller's duties; the index lies within the tuple.
        Some(unsafe { (self.functions.tuple_item)(tuple, index) })
    }

    /// The lock, if this thread holds it now.
    pub(super) fn locked_already(&self) -> Option<Locked<'_>> {
        // SAFETY: may be called at any time.
        let initialized = unsafe { (self.functions.is_initialized)() } != 0;
        // SAFETY: may be called once the interpreter is initialised.
        let held = initialized && unsafe { (self.functions.holds_lock)() } != 0;
        held.then_some(Locked {
            python: self,
            taken: None,
        })
    }

    /// The lock; waits for it. Only for calls that the program makes to us.
    pub(super) fn lock(&self) -> Option<Locked<'_>> {
        if let Some(locked) = self.locked_already() {
            return Some(locked);
        }
        // SAFETY: may be called at any time.
        if unsafe { (self.functions.is_initialized)() } == 0 {
            return None;
        }
        // SAFETY: the interpreter is initialised, and this thread does not hold the lock.
        let taken = unsafe { (self.functions.take_lock)() };
        Some(Locked {
            python: self,
            taken: Some(taken),
        })
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if let Some(taken) = self.taken {
            // SAFETY: `lock` took it on this thread and got this number for it.
            unsafe { (self.python.functions.give_lock)(taken) };
        }
    }
}

impl Locked<'_> {
    /// Whether the program has an exception in hand: then nothing may be called.
    pub(super) fn has_error(&self) -> bool {
        // SAFETY: the lock is held.
        !unsafe { (self.python.functions.has_error)() }.is_null()
    }

    /// An imported module; `None` when nobody has imported it yet.
    pub(super) fn imported(&self, name: &CStr) -> Option<Owned<'_>> {
        // SAFETY: the lock is held, and the name is a C string.
        let name = self.own(unsafe { (self.python.functions.text)(name.as_ptr()) })?;
        // SAFETY: the lock is held, and the name is an object.
        self.own(unsafe { (self.python.functions.imported)(name.object) })
    }

    /// A slot of a type, as the interpreter itself gives it.
    pub(super) fn type_slot(&self, of_type: Object, number: c_int) -> usize {
        // SAFETY: the lock is held, and the callers pass a type.
        unsafe { (self.python.functions.type_slot)(of_type, number) }.addr()
    }

    /// Takes over a new reference. A failed call leaves an exception, which is forgotten: there was
    /// none before.
    fn own(&self, object: Object) -> Option<Owned<'_>> {
        if object.is_null() {
            // SAFETY: the lock is held.
            unsafe { (self.python.functions.forget_error)() };
            return None;
        }
        Some(Owned {
            locked: self,
            object,
        })
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // SAFETY: the lock is held for the lifetime of `locked`, and the reference is this one's.
        unsafe { (self.locked.python.functions.release)(self.object) };
    }
}

impl<'lock> Owned<'lock> {
    /// The object.
    pub(super) fn object(&self) -> Object {
        self.object
    }

    /// An attribute.
    pub(super) fn attribute(&self, name: &CStr) -> Option<Owned<'lock>> {
        let attribute = self.locked.python.functions.attribute;
        // SAFETY: the lock is held, and the name is a C string.
        self.locked
            .own(unsafe { attribute(self.object, name.as_ptr()) })
    }

    /// What it returns when it is called without arguments.
    pub(super) fn call(&self) -> Option<Owned<'lock>> {
        let call = self.locked.python.functions.call;
        // SAFETY: the lock is held.
        self.locked.own(unsafe { call(self.object) })
    }

    /// Another object, borrowed, with the lifetime of the lock.
    pub(super) fn borrowed(&self, object: Object) -> Option<Owned<'lock>> {
        if object.is_null() {
            return None;
        }
        // SAFETY: the lock is held, and the caller has the object from something that owns it.
        unsafe { (self.locked.python.functions.keep)(object) };
        Some(Owned {
            locked: self.locked,
            object,
        })
    }

    /// The items of a list, borrowed from it.
    pub(super) fn items(&self) -> Vec<Object> {
        let functions = &self.locked.python.functions;
        // SAFETY: the lock is held; an object that is no list gives a negative number.
        let length = unsafe { (functions.list_length)(self.object) };
        // SAFETY: the lock is held, and the index lies within the list.
        (0..length.max(0))
            .map(|index| unsafe { (functions.list_item)(self.object, index) })
            .collect()
    }
}
