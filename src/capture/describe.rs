//! From the number of a stack back to names, for reports. Reads our own tables and the files of
//! modules, so it works after the interpreter is gone.

use super::Capture;
use super::foreign::ForeignFunctionId;
use super::frame::{ForeignFunction, Frame};
use super::site_table::{Site, SiteId};
use crate::ledger::StackId;

/// What allocations have in common that a library makes for the same purpose: the foreign function
/// under way and the place in native code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Maker {
    foreign: SiteId,
    native: SiteId,
}

impl Capture {
    /// The maker of the blocks of a stack; `None` when no foreign function was being executed.
    #[must_use]
    pub fn maker(&self, stack: StackId) -> Option<Maker> {
        let foreign = self.stacks.foreign(stack);
        let is_native =
            |site: &SiteId| !matches!(self.sites.site(*site), Some(Site::Python { .. }));
        let innermost = self.stacks.sites(stack).next().filter(is_native);
        foreign.is_known().then(|| Maker {
            foreign,
            native: innermost.unwrap_or(SiteId::NONE),
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
        self.stacks
            .sites(stack)
            .flat_map(|site| self.frames_at(site))
            .collect()
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
            }],
            Some(Site::Caller { module, offset, .. }) => {
                self.symbolizer.frames(&self.sites, module, offset)
            }
            Some(Site::Foreign { .. }) | None => Vec::new(),
        }
    }
}
