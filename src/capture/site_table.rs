//! Places in code, each stored once: a Python line, a native caller, a location given by a C
//! caller, a foreign function.

use super::hash::halves;
use super::intern_table::InternTable;
use super::native::{ModuleId, ModuleTable};
use super::text_table::{TextId, TextTable};

/// How many different places are kept.
#[cfg(not(test))]
const SITE_COUNT_MAX: usize = 1 << 18;
#[cfg(test)]
const SITE_COUNT_MAX: usize = 500;

/// The number of a stored place. Zero: not known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct SiteId(pub(super) u32);

impl SiteId {
    /// No place.
    pub(super) const NONE: Self = Self(0);

    /// Whether there is a place.
    pub(super) const fn is_known(self) -> bool {
        self.0 != 0
    }
}

/// What a place is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Site {
    /// A line of Python code.
    Python {
        /// `co_filename`.
        file: TextId,
        /// `co_qualname`.
        function: TextId,
        /// Zero when the instruction has no line.
        line: u32,
    },
    /// A line of native code that names itself.
    Location {
        /// Usually `__FILE__`.
        file: TextId,
        /// Usually `__func__`.
        function: TextId,
        /// Usually `__LINE__`.
        line: u32,
    },
    /// The native code that called us.
    Caller {
        /// The object that contains it.
        module: ModuleId,
        /// The return address relative to the module's bias; in no module, the address itself.
        offset: u64,
        /// Whether the frame is the interpreter's, libffi's or ours.
        is_internal: bool,
    },
    /// A function that Python calls through ctypes or cffi.
    Foreign {
        /// The path of the shared object.
        library: TextId,
        /// The function's name.
        name: TextId,
    },
}

const PYTHON: u32 = 1;
const LOCATION: u32 = 2;
const CALLER: u32 = 3;
const FOREIGN: u32 = 4;

/// The places and the texts they are made of.
#[derive(Debug)]
pub(super) struct SiteTable {
    records: InternTable,
    texts: TextTable,
    modules: ModuleTable,
}

impl SiteTable {
    /// An empty table; `None` when the kernel refuses pages.
    pub(super) fn new() -> Option<Self> {
        Some(Self {
            records: InternTable::new(SITE_COUNT_MAX)?,
            texts: TextTable::new()?,
            modules: ModuleTable::new()?,
        })
    }

    /// The number of this place, stored now if it was not known.
    pub(super) fn intern(&self, site: Site) -> SiteId {
        self.records
            .intern(&words_of(site).into_iter())
            .map_or(SiteId::NONE, SiteId)
    }

    /// What this number stands for; `None` for a number that was never given out.
    pub(super) fn site(&self, site: SiteId) -> Option<Site> {
        let mut words = self.records.record(site.0);
        let kind = words.next()?;
        let (first, second) = (TextId(words.next()?), TextId(words.next()?));
        let (low, high) = (words.next()?, words.next()?);
        Some(match kind {
            PYTHON => Site::Python {
                file: first,
                function: second,
                line: low,
            },
            LOCATION => Site::Location {
                file: first,
                function: second,
                line: low,
            },
            CALLER => Site::Caller {
                module: ModuleId(first.0),
                offset: u64::from(high) << 32 | u64::from(low),
                is_internal: second.0 != 0,
            },
            FOREIGN => Site::Foreign {
                library: first,
                name: second,
            },
            _ => return None,
        })
    }

    /// The texts.
    pub(super) fn texts(&self) -> &TextTable {
        &self.texts
    }

    /// The modules that callers lie in.
    pub(super) fn modules(&self) -> &ModuleTable {
        &self.modules
    }

    /// The table of records, for its counters.
    pub(super) fn records(&self) -> &InternTable {
        &self.records
    }
}

fn words_of(site: Site) -> [u32; 5] {
    match site {
        Site::Python {
            file,
            function,
            line,
        } => [PYTHON, file.0, function.0, line, 0],
        Site::Location {
            file,
            function,
            line,
        } => [LOCATION, file.0, function.0, line, 0],
        Site::Caller {
            module,
            offset,
            is_internal,
        } => {
            let (low, high) = halves(offset);
            [CALLER, module.0, u32::from(is_internal), low, high]
        }
        Site::Foreign { library, name } => [FOREIGN, library.0, name.0, 0, 0],
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_place_comes_back_as_it_went_in() {
        let table = SiteTable::new().expect("pages");
        let (one, two) = (TextId(1), TextId(2));
        let sites = [
            Site::Python {
                file: one,
                function: two,
                line: 7,
            },
            Site::Location {
                file: one,
                function: two,
                line: 7,
            },
            Site::Caller {
                module: ModuleId(3),
                offset: 0x7f12_3456_789a,
                is_internal: true,
            },
            Site::Foreign {
                library: one,
                name: two,
            },
        ];
        let ids = sites.map(|site| table.intern(site));
        for (site, id) in sites.into_iter().zip(ids) {
            assert_eq!(table.site(id), Some(site));
            assert_eq!(table.intern(site), id);
        }
        assert_eq!(table.records().len(), 4);
    }

    #[test]
    fn an_unknown_number_is_no_place() {
        let table = SiteTable::new().expect("pages");
        assert_eq!(table.site(SiteId::NONE), None);
        assert_eq!(table.site(SiteId(77)), None);
    }
}
