//! On whose behalf the C++ run time allocated.
//!
//! A text that `std::string` copies is allocated by code of `libstdc++.so`. Whose it is, the next library
//! on the stack says. Looked at for reports only: on the allocation path it would mean unwinding first.

use super::Capture;
use super::site_table::Site;
use crate::ledger::StackId;

/// How the file names of the C++ run time and the unwinder begin.
pub const CXX_RUNTIME_PREFIXES: [&[u8]; 4] = [
    b"libstdc++.so.",
    b"libc++.so.",
    b"libc++abi.so.",
    b"libgcc_s.so.",
];
/// What the file names of modules that Python imports have in common: the tag of the interpreter that
/// they are built for, or of the stable interface.
const EXTENSION_MODULE_MARKS: [&str; 2] = [".cpython-", ".abi3."];

impl Capture {
    /// Whether, outside any foreign call, an extension module allocated, or the C++ run time for it. Most
    /// of what modules allocate is known by its caller; not so what their static constructors do.
    #[must_use]
    pub fn is_for_extension_module(&self, stack: StackId) -> bool {
        if self.stacks.foreign(stack).is_known() {
            return false;
        }
        let callers = self.stacks.sites(stack).map_while(|site| {
            let Some(Site::Caller { module, .. }) = self.sites.site(site) else {
                return None;
            };
            Some(self.sites.modules().path(self.sites.texts(), module))
        });
        let mut others = callers.skip_while(|path| is_cxx_runtime(path));
        others.next().is_some_and(|path| is_extension_module(&path))
    }

    /// Whether the same library allocated at both stacks.
    #[must_use]
    pub fn are_by_one_module(&self, one: StackId, other: StackId) -> bool {
        let module = |stack| match self.sites.site(self.stacks.sites(stack).next()?)? {
            Site::Caller { module, .. } => Some(module),
            _ => None,
        };
        one == other || module(one).is_some_and(|found| module(other) == Some(found))
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_cxx_runtime(path: &str) -> bool {
    let name = file_name(path).as_bytes();
    CXX_RUNTIME_PREFIXES
        .iter()
        .any(|&prefix| name.starts_with(prefix))
}

fn is_extension_module(path: &str) -> bool {
    let name = file_name(path);
    EXTENSION_MODULE_MARKS
        .iter()
        .any(|mark| name.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_names() {
        assert!(is_cxx_runtime("/lib/x86_64-linux-gnu/libstdc++.so.6"));
        assert!(!is_cxx_runtime("/opt/libstdc++.so.d/libmine.so"));
        assert!(is_extension_module("/s/_d.cpython-311-x86_64-linux-gnu.so"));
        assert!(is_extension_module("/s/_rust.abi3.so"));
        assert!(!is_extension_module("/s/x.cpython-311/libmine.so"));
    }
}
