//! Stacks as plain data, for those who read them.

/// One frame of a stack. Empty texts and zero numbers mean: not known.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Frame {
    /// A line of Python code.
    Python {
        /// The file, as the code object names it.
        file: String,
        /// The line, counted from 1.
        line: u32,
        /// The qualified name of the function.
        function: String,
    },
    /// A place in native code.
    Native {
        /// The path of the shared object.
        library: String,
        /// The function, or the nearest exported symbol before the place.
        function: String,
        /// The source file.
        file: String,
        /// The line in it, counted from 1.
        line: u32,
        /// The return address in this process.
        address: u64,
        /// What names the content of the shared object's file for other machines: its build id.
        build_id: String,
        /// The return address as the file counts it.
        offset: u64,
        /// Whether the frame is none of the program's: the interpreter's, libffi's, ours, or one
        /// that starts a program or a thread. Reports leave these out unless asked.
        is_internal: bool,
        /// Whether the function was inlined into that of the next frame.
        is_inlined: bool,
    },
}

/// A function that Python called through ctypes or cffi.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ForeignFunction {
    /// The path of the shared object.
    pub library: String,
    /// The function's name.
    pub name: String,
}

/// A Python frame that Python code describes itself, where frames cannot be read natively.
#[derive(Clone, Copy, Debug)]
pub struct SuppliedFrame<'text> {
    /// The file's path.
    pub file: &'text [u8],
    /// The line, counted from 1.
    pub line: u32,
    /// The qualified name of the function.
    pub function: &'text [u8],
}
