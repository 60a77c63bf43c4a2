//! Locations: the file, line and function that a C caller passes along with its request.

use super::hash::Hash;
use super::site_table::{Site, SiteId, SiteTable};

/// The number of a location a C caller gave.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct LocationId(SiteId);

impl LocationId {
    /// The caller gave no location.
    pub const NONE: Self = Self(SiteId::NONE);

    /// The location stored as this place.
    pub(super) const fn at(site: SiteId) -> Self {
        Self(site)
    }

    /// The place the location is stored as.
    pub(super) const fn site(self) -> SiteId {
        self.0
    }
}

/// What a location is recognised by. The texts are hashed, not their addresses: a caller may pass
/// them in a buffer that it uses again.
#[inline]
pub(super) fn key(file: &[u8], line: u32, function: &[u8]) -> u64 {
    let hash = Hash::seeded(4).with(u64::from(line));
    hash.with_bytes(file).with_bytes(function).get()
}

/// Stores a location.
#[cold]
pub(super) fn intern(sites: &SiteTable, file: &[u8], line: u32, function: &[u8]) -> SiteId {
    let texts = sites.texts();
    let (file, function) = (texts.intern(file), texts.intern(function));
    sites.intern(Site::Location {
        file,
        function,
        line,
    })
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
        assert!(first.is_known());
        assert_eq!(key(b"a.c", 3, b"main"), key(b"a.c", 3, b"main"));
        assert_ne!(key(b"a.c", 3, b"main"), key(b"a.cm", 3, b"ain"));
    }
}
