//! One line of a stack as data.

use serde::{Deserialize, Serialize};

/// One frame of a stack. Empty text and zero mean "not known".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(tag = "language", rename_all = "lowercase")]
pub enum Frame {
    /// A line of Python.
    Python {
        /// The file, as the code object names it.
        #[serde(default)]
        file: String,
        /// The line, counted from 1.
        #[serde(default)]
        line: u32,
        /// The qualified name.
        #[serde(default)]
        function: String,
    },
    /// A call in compiled code.
    Native {
        /// The shared object or executable.
        #[serde(default)]
        library: String,
        /// The function, demangled.
        #[serde(default)]
        function: String,
        /// The source file, if debug information or the caller names it.
        #[serde(default)]
        file: String,
        /// The line, counted from 1.
        #[serde(default)]
        line: u32,
        /// The code address in that process; 0 for a place that a caller stated itself.
        #[serde(default)]
        address: u64,
        /// The build id of the library's file, in hexadecimal; absent when it has none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        build_id: String,
        /// The code address as the library's file counts it; absent when zero.
        #[serde(default, skip_serializing_if = "is_zero")]
        offset: u64,
        /// Whether the frame is the interpreter's, libffi's, heapledger's, or one that starts a
        /// program or a thread; absent when not. Text leaves these out unless asked.
        #[serde(default, skip_serializing_if = "is_false")]
        internal: bool,
        /// Whether the function was inlined into that of the next frame; absent when not.
        #[serde(default, skip_serializing_if = "is_false")]
        inlined: bool,
    },
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Frame {
    /// Whether this is a native frame that is none of the program's.
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        matches!(self, Self::Native { internal: true, .. })
    }

    /// Whether this is a native frame that was inlined into the next.
    #[must_use]
    pub const fn is_inlined(&self) -> bool {
        matches!(self, Self::Native { inlined: true, .. })
    }

    /// Whether this is a line of Python.
    #[must_use]
    pub const fn is_python(&self) -> bool {
        matches!(self, Self::Python { .. })
    }
}
