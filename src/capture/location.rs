//! Locations: the file, line and function that a C caller passes along with its request.

use super::site_table::{Site, SiteId, SiteTable};

/// The number of a location a C caller gave.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct LocationId(SiteId);

impl LocationId {
    /// The caller gave no location.
    pub const NONE: Self = Self(SiteId::NONE);

    /// The place the location is stored as.
    pub(super) const fn site(self) -> SiteId {
        self.0
    }
}

/// Stores a location; lock-free, and without allocation once it has been seen.
pub(super) fn intern(sites: &SiteTable, file: &[u8], line: u32, function: &[u8]) -> LocationId {
    if file.is_empty() && line == 0 && function.is_empty() {
        return LocationId::NONE;
    }
    let texts = sites.texts();
    let (file, function) = (texts.intern(file), texts.intern(function));
    LocationId(sites.intern(Site::Location {
        file,
        function,
        line,
    }))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_known_by_its_content() {
        let sites = SiteTable::new().expect("pages");
        let first = intern(&sites, b"a.c", 3, b"main");
        assert_eq!(intern(&sites, b"a.c", 3, b"main"), first);
        assert_ne!(intern(&sites, b"a.c", 4, b"main"), first);
        assert_ne!(first, LocationId::NONE);
        assert_eq!(intern(&sites, b"", 0, b""), LocationId::NONE);
    }
}
