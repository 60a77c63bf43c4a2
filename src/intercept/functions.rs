//! The one table of intercepted functions. Declaration, patching, `doctor` and the tests derive
//! from it: a function that is missing here is missing everywhere.
//!
//! A row is: our name, the symbol, the family its blocks belong to or that it releases, its role,
//! the shape of its entry (`entry.rs`: how many arguments, or a shape of its own), and the function
//! that receives the call (or, for `HandOver`, that asks whether such a call goes on).

use std::sync::OnceLock;

use crate::ledger::FamilyId;

/// What an intercepted function does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Role {
    /// Gives out a block.
    Allocate,
    /// Moves or resizes a block.
    Resize,
    /// Takes a block back.
    Release,
    /// Says how large a block is.
    Measure,
    /// Gives out memory that the C library allocated on the caller's behalf, such as `strdup`.
    HandOver,
    /// Looks a symbol up.
    Lookup,
    /// Calls a foreign function for Python.
    ForeignCall,
    /// Unloads a library.
    Unload,
    /// Starts a thread.
    StartThread,
    /// Says what happens on a signal.
    Signal,
    /// Ends the process without running destructors.
    Leave,
    /// Releases memory while greenlet exchanges the stack under the interpreter.
    SwitchStack,
    /// Copies memory into Python text.
    Convert,
    /// Copies memory.
    Copy,
    /// Has the kernel read or write memory.
    Transfer,
}

/// Passes the rows to another macro.
macro_rules! for_each_function {
    ($then:ident) => {
        $then! {
            Malloc, "malloc", MALLOC, Allocate, one, crate::intercept::allocator::malloc;
            Calloc, "calloc", MALLOC, Allocate, two, crate::intercept::allocator::calloc;
            Realloc, "realloc", MALLOC, Resize, two, crate::intercept::resize::realloc;
            ReallocArray, "reallocarray", MALLOC, Resize, three,
                crate::intercept::resize::reallocarray;
            PosixMemalign, "posix_memalign", MALLOC, Allocate, three,
                crate::intercept::allocator::posix_memalign;
            AlignedAlloc, "aligned_alloc", MALLOC, Allocate, two,
                crate::intercept::allocator::aligned_alloc;
            Memalign, "memalign", MALLOC, Allocate, two, crate::intercept::allocator::memalign;
            Valloc, "valloc", MALLOC, Allocate, one, crate::intercept::allocator::valloc;
            Pvalloc, "pvalloc", MALLOC, Allocate, one, crate::intercept::allocator::pvalloc;
            Free, "free", MALLOC, Release, one, crate::intercept::release::free;
            FreeSized, "free_sized", MALLOC, Release, two, crate::intercept::release::free_sized;
            FreeAlignedSized, "free_aligned_sized", MALLOC, Release, three,
                crate::intercept::release::free_aligned_sized;
            UsableSize, "malloc_usable_size", MALLOC, Measure, one,
                crate::intercept::allocator::malloc_usable_size;

            New, "_Znwm", NEW, Allocate, one, crate::intercept::cxx::new;
            NewNothrow, "_ZnwmRKSt9nothrow_t", NEW, Allocate, two,
                crate::intercept::cxx::new_nothrow;
            NewAligned, "_ZnwmSt11align_val_t", NEW, Allocate, two,
                crate::intercept::cxx::new_aligned;
            NewAlignedNothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t", NEW, Allocate, three,
                crate::intercept::cxx::new_aligned_nothrow;
            NewArray, "_Znam", NEW_ARRAY, Allocate, one, crate::intercept::cxx::new_array;
            NewArrayNothrow, "_ZnamRKSt9nothrow_t", NEW_ARRAY, Allocate, two,
                crate::intercept::cxx::new_array_nothrow;
            NewArrayAligned, "_ZnamSt11align_val_t", NEW_ARRAY, Allocate, two,
                crate::intercept::cxx::new_array_aligned;
            NewArrayAlignedNothrow, "_ZnamSt11align_val_tRKSt9nothrow_t", NEW_ARRAY, Allocate,
                three, crate::intercept::cxx::new_array_aligned_nothrow;

            Delete, "_ZdlPv", NEW, Release, one, crate::intercept::cxx::delete;
            DeleteSized, "_ZdlPvm", NEW, Release, two, crate::intercept::cxx::delete_sized;
            DeleteNothrow, "_ZdlPvRKSt9nothrow_t", NEW, Release, two,
                crate::intercept::cxx::delete_nothrow;
            DeleteAligned, "_ZdlPvSt11align_val_t", NEW, Release, two,
                crate::intercept::cxx::delete_aligned;
            DeleteSizedAligned, "_ZdlPvmSt11align_val_t", NEW, Release, three,
                crate::intercept::cxx::delete_sized_aligned;
            DeleteAlignedNothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t", NEW, Release, three,
                crate::intercept::cxx::delete_aligned_nothrow;
            DeleteArray, "_ZdaPv", NEW_ARRAY, Release, one, crate::intercept::cxx::delete_array;
            DeleteArraySized, "_ZdaPvm", NEW_ARRAY, Release, two,
                crate::intercept::cxx::delete_array_sized;
            DeleteArrayNothrow, "_ZdaPvRKSt9nothrow_t", NEW_ARRAY, Release, two,
                crate::intercept::cxx::delete_array_nothrow;
            DeleteArrayAligned, "_ZdaPvSt11align_val_t", NEW_ARRAY, Release, two,
                crate::intercept::cxx::delete_array_aligned;
            DeleteArraySizedAligned, "_ZdaPvmSt11align_val_t", NEW_ARRAY, Release, three,
                crate::intercept::cxx::delete_array_sized_aligned;
            DeleteArrayAlignedNothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t", NEW_ARRAY, Release,
                three, crate::intercept::cxx::delete_array_aligned_nothrow;

            Strdup, "strdup", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            StrdupAlias, "__strdup", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Strndup, "strndup", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            StrndupAlias, "__strndup", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Wcsdup, "wcsdup", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Getline, "getline", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Getdelim, "getdelim", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            GetdelimAlias, "__getdelim", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Asprintf, "asprintf", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            AsprintfChecked, "__asprintf_chk", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Vasprintf, "vasprintf", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            VasprintfChecked, "__vasprintf_chk", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            OpenMemstream, "open_memstream", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            OpenWmemstream, "open_wmemstream", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Realpath, "realpath", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            RealpathChecked, "__realpath_chk", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            CanonicalizeFileName, "canonicalize_file_name", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Getcwd, "getcwd", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            GetCurrentDirName, "get_current_dir_name", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Scandir, "scandir", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Scandir64, "scandir64", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Tempnam, "tempnam", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Fopen, "fopen", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Fopen64, "fopen64", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Fdopen, "fdopen", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Fmemopen, "fmemopen", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Opendir, "opendir", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Fdopendir, "fdopendir", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;
            Demangle, "__cxa_demangle", MALLOC, HandOver, hand_over, crate::intercept::hand_over::in_progress;

            Dlsym, "dlsym", MALLOC, Lookup, lookup, crate::intercept::lookup::dlsym;
            Dlclose, "dlclose", MALLOC, Unload, one, crate::intercept::unload::dlclose;
            FfiCall, "ffi_call", MALLOC, ForeignCall, four, crate::intercept::ctypes::ffi_call;
            CffiFfiCall, "cffistatic_ffi_call", MALLOC, ForeignCall, four,
                crate::intercept::ctypes::cffi_ffi_call;
            PthreadCreate, "pthread_create", MALLOC, StartThread, four,
                crate::intercept::threads::pthread_create;
            Sigaction, "sigaction", MALLOC, Signal, three, crate::intercept::signals::sigaction;
            SetSignal, "signal", MALLOC, Signal, two, crate::intercept::signals::signal;
            ExitAtOnce, "_exit", MALLOC, Leave, one, crate::intercept::leave::exit_at_once;
            ExitAtOnceC99, "_Exit", MALLOC, Leave, one,
                crate::intercept::leave::exit_at_once_c99;
            BytesFromText, "PyBytes_FromStringAndSize", MALLOC, Convert, two,
                crate::intercept::conversion::bytes_from_text;
            TextFromWide, "PyUnicode_FromWideChar", MALLOC, Convert, two,
                crate::intercept::conversion::text_from_wide;
            Memcpy, "memcpy", MALLOC, Copy, three, crate::intercept::copying::memcpy;
            Memmove, "memmove", MALLOC, Copy, three, crate::intercept::copying::memmove;
            Read, "read", MALLOC, Transfer, three, crate::intercept::transfers::read;
            Write, "write", MALLOC, Transfer, three, crate::intercept::transfers::write;
            Pread, "pread", MALLOC, Transfer, four, crate::intercept::transfers::pread;
            Pread64, "pread64", MALLOC, Transfer, four, crate::intercept::transfers::pread64;
            Recv, "recv", MALLOC, Transfer, four, crate::intercept::transfers::recv;
            Pwrite, "pwrite", MALLOC, Transfer, four, crate::intercept::transfers::pwrite;
            Pwrite64, "pwrite64", MALLOC, Transfer, four, crate::intercept::transfers::pwrite64;
            Send, "send", MALLOC, Transfer, four, crate::intercept::transfers::send;
            Fread, "fread", MALLOC, Transfer, four, crate::intercept::transfers::fread;
            Fwrite, "fwrite", MALLOC, Transfer, four, crate::intercept::transfers::fwrite;
            PythonFree, "PyMem_Free", MALLOC, SwitchStack, one,
                crate::intercept::switching::python_free;
        }
    };
}
pub(super) use for_each_function;

macro_rules! declare {
    ($($name:ident, $symbol:literal, $family:ident, $role:ident, $shape:ident, $ours:path;)*) => {
        /// An intercepted function.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(usize)]
        pub(super) enum Function {
            $(#[doc = concat!("`", $symbol, "`")] $name),*
        }

        impl Function {
            /// Every row, in the order of the table.
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];

            /// The symbol other objects call it by.
            pub(super) const fn symbol(self) -> &'static str {
                match self { $(Self::$name => $symbol),* }
            }

            /// Whether a block it gives out has no other alignment than every block has, and whether its
            /// content is its caller's affair or zero.
            pub(super) const fn is_plain(self) -> bool {
                matches!(
                    self,
                    Self::Malloc
                        | Self::Calloc
                        | Self::New
                        | Self::NewNothrow
                        | Self::NewArray
                        | Self::NewArrayNothrow
                )
            }

            /// Whether it is an `operator new` for one object, to which that for arrays may jump.
            pub(super) const fn has_array_form(self) -> bool {
                matches!(
                    self,
                    Self::New | Self::NewNothrow | Self::NewAligned | Self::NewAlignedNothrow
                )
            }

            /// The family of the blocks it gives out or takes back.
            #[inline(always)]
            pub(super) const fn family(self) -> FamilyId {
                match self { $(Self::$name => FamilyId::$family),* }
            }

            /// What it does.
            pub(super) const fn role(self) -> Role {
                match self { $(Self::$name => Role::$role),* }
            }
        }
    };
}
for_each_function!(declare);

/// How many functions are intercepted.
pub(super) const FUNCTION_COUNT: usize = Function::ALL.len();

impl Function {
    /// The function called `symbol`, if it is intercepted.
    pub(super) fn named(symbol: &[u8]) -> Option<Self> {
        // A large library has a hundred thousand relocations: by name order, not row by row.
        static BY_NAME: OnceLock<Vec<Function>> = OnceLock::new();
        let by_name = BY_NAME.get_or_init(|| {
            let mut rows = Self::ALL.to_vec();
            rows.sort_unstable_by_key(|row| row.symbol());
            rows
        });
        let place = by_name
            .binary_search_by(|row| row.symbol().as_bytes().cmp(symbol))
            .ok()?;
        by_name.get(place).copied()
    }

    /// Whether calls from the object with this file name are received. Those of some roles mean
    /// something only where greenlet makes them, or what copies memory for Python: ctypes, cffi, NumPy.
    pub(super) fn is_received_from(self, file_name: &[u8]) -> bool {
        let is_one_of = |names: &[&[u8]]| names.iter().any(|name| file_name.starts_with(name));
        match self.role() {
            Role::SwitchStack => is_one_of(&[b"_greenlet"]),
            // NumPy copies elements with `memmove`, and all sorts of small things with `memcpy`. ctypes
            // gives the address of `memmove` to Python, which must get the real one.
            Role::Copy if self == Self::Memmove => {
                is_one_of(&[b"_cffi_backend.", b"_multiarray_umath."])
            }
            Role::Copy => is_one_of(&[b"_ctypes.", b"_cffi_backend."]),
            Role::Convert => is_one_of(&[b"_ctypes.", b"_cffi_backend.", b"_multiarray_umath."]),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_symbol_and_only_once() {
        for (index, &row) in Function::ALL.iter().enumerate() {
            assert_eq!(Function::named(row.symbol().as_bytes()), Some(row));
            assert_eq!(row as usize, index, "a row's number is its place");
        }
        assert_eq!(Function::named(b"mallocx"), None);
        assert_eq!(Function::named(b""), None);
        assert!(Function::Free.is_received_from(b"libany.so"));
        assert!(Function::PythonFree.is_received_from(b"_greenlet.cpython-311.so"));
        assert!(!Function::PythonFree.is_received_from(b"libany.so"));
        for function in [Function::Memcpy, Function::Memmove] {
            assert!(function.is_received_from(b"_cffi_backend.cpython-311.so"));
            assert!(!function.is_received_from(b"libany.so") && !function.is_received_from(b""));
        }
        assert!(!Function::Memmove.is_received_from(b"_ctypes.cpython-311.so"));
        assert!(!Function::Memcpy.is_received_from(b"_multiarray_umath.cpython-311.so"));
        assert_eq!(
            Function::named(b"dlopen"),
            None,
            "RUNPATH depends on its caller"
        );
    }

    #[test]
    fn operators_belong_to_the_family_their_name_says() {
        for &row in Function::ALL {
            let symbol = row.symbol();
            let family = match symbol.get(..4) {
                Some("_Znw" | "_Zdl") => FamilyId::NEW,
                Some("_Zna" | "_Zda") => FamilyId::NEW_ARRAY,
                _ => FamilyId::MALLOC,
            };
            assert_eq!(row.family(), family, "{symbol}");
            let releases = symbol.starts_with("_Zd") || symbol.starts_with("free");
            assert_eq!(row.role() == Role::Release, releases, "{symbol}");
        }
    }
}
