//! From the number of a stack back to names, for reports. Reads our own tables and the files of
//! modules, so it works after the interpreter is gone.

use super::Capture;
use super::foreign::ForeignFunctionId;
use super::frame::{ForeignFunction, Frame};
use super::site_table::{Site, SiteId};
use crate::ledger::StackId;

/// What allocations have in common that a library makes for the same purpose: the foreign function
/// under way and the way through native code from there. The innermost place alone may be a wrapper
/// of `malloc` that everything in the library goes through.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Maker {
    foreign: SiteId,
    native: Vec<SiteId>,
}

impl Capture {
    /// The maker of the blocks of a stack; `None` when no foreign function was being executed.
    #[must_use]
    pub fn maker(&self, stack: StackId) -> Option<Maker> {
        let foreign = self.stacks.foreign(stack);
        let is_native =
            |site: &SiteId| !matches!(self.sites.site(*site), Some(Site::Python { .. }));
        foreign.is_known().then(|| Maker {
            foreign,
            native: self.stacks.sites(stack).take_while(is_native).collect(),
        })
    }

    /// Whether `function` was being executed at a stack.
    #[must_use]
    pub fn is_in_foreign_function(&self, stack: StackId, function: ForeignFunctionId) -> bool {
        function.is_known() && self.stacks.foreign(stack) == function.0
    }

    /// The frames of a stack, innermost first. None for [`StackId::UNKNOWN`].
    #[must_use]
    pub fn frames(&self, stack: StackId) -> Vec<Frame> {
        let sites = self.stacks.sites(stack);
        let mut frames: Vec<Frame> = sites.flat_map(|site| self.frames_at(site)).collect();
        for native in frames.chunk_by_mut(|one, next| is_native(one) == is_native(next)) {
            native
                .iter_mut()
                .rev()
                .take_while(|frame| starts_something(frame))
                .for_each(hide);
        }
        frames
    }

    /// The foreign function that was being executed.
    #[must_use]
    pub fn foreign_function(&self, stack: StackId) -> Option<ForeignFunction> {
        match self.sites.site(self.stacks.foreign(stack))? {
            Site::Foreign { library, name } => {
                let texts = self.sites.texts();
                Some(ForeignFunction {
                    library: texts.text(library),
                    name: texts.text(name),
                })
            }
            Site::Python { .. } | Site::Location { .. } | Site::Caller { .. } => None,
        }
    }

    /// The frames of one place: several where functions were inlined.
    fn frames_at(&self, site: SiteId) -> Vec<Frame> {
        let text = |id| self.sites.texts().text(id);
        match self.sites.site(site) {
            Some(Site::Python {
                file,
                function,
                line,
            }) => vec![Frame::Python {
                file: text(file),
                line,
                function: text(function),
            }],
            Some(Site::Location {
                file,
                function,
                line,
            }) => vec![Frame::Native {
                library: String::new(),
                function: text(function),
                file: text(file),
                line,
                address: 0,
                build_id: String::new(),
                offset: 0,
                is_internal: false,
                is_inlined: false,
            }],
            Some(Site::Caller {
                module,
                offset,
                is_internal,
            }) => {
                let mut frames = self.symbolizer.frames(&self.sites, module, offset);
                if is_internal {
                    frames.iter_mut().for_each(hide);
                }
                frames
            }
            Some(Site::Foreign { .. }) | None => Vec::new(),
        }
    }
}

fn is_native(frame: &Frame) -> bool {
    matches!(frame, Frame::Native { .. })
}

fn hide(frame: &mut Frame) {
    if let Frame::Native { is_internal, .. } = frame {
        *is_internal = true;
    }
}

/// Whether a frame is the C library's that starts a program or a thread. Only asked about the
/// outermost: functions that the C library does not export have no name there.
fn starts_something(frame: &Frame) -> bool {
    let Frame::Native {
        library, function, ..
    } = frame
    else {
        return false;
    };
    let name = library.rsplit('/').next().unwrap_or_default();
    let is_runtime = name.starts_with("libc.so") || name.starts_with("libpthread");
    function == "_start"
        || is_runtime && (function.is_empty() || STARTERS.contains(&function.as_str()))
}

const STARTERS: [&str; 8] = [
    "__libc_start_call_main",
    "__libc_start_main",
    "__libc_start_main_impl",
    "start_thread",
    "clone",
    "clone3",
    "__clone",
    "__clone3",
];
