//! From the number of a stack back to names, for reports. Reads only our own tables, so it works
//! after the interpreter is gone.

use super::Capture;
use super::frame::{ForeignFunction, Frame};
use super::site_table::{Site, SiteId};
use crate::ledger::StackId;

impl Capture {
    /// The frames of a stack, innermost first. None for [`StackId::UNKNOWN`].
    #[must_use]
    pub fn frames(&self, stack: StackId) -> Vec<Frame> {
        self.stacks
            .sites(stack)
            .filter_map(|site| self.frame(site))
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

    fn frame(&self, site: SiteId) -> Option<Frame> {
        let text = |id| self.sites.texts().text(id);
        let nothing = String::new;
        Some(match self.sites.site(site)? {
            Site::Python {
                file,
                function,
                line,
            } => Frame::Python {
                file: text(file),
                line,
                function: text(function),
            },
            Site::Location {
                file,
                function,
                line,
            } => Frame::Native {
                library: nothing(),
                function: text(function),
                file: text(file),
                line,
                address: 0,
            },
            Site::Caller {
                library,
                function,
                address,
            } => Frame::Native {
                library: text(library),
                function: text(function),
                file: nothing(),
                line: 0,
                address,
            },
            Site::Foreign { .. } => return None,
        })
    }
}
