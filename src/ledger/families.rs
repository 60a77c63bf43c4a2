//! The names of families: which functions allocate and release each.

use super::FamilyId;
use crate::memory::lock::Lock;
use std::sync::MutexGuard;

/// Families a program can declare; each is one `pair` of a library's functions.
pub const DECLARED_FAMILY_COUNT_MAX: usize = 4_096;

/// How a family is spoken of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FamilyNames {
    /// The family's name in reports, such as `new[]`.
    pub family: String,
    /// A function that allocates.
    pub allocate: String,
    /// The function that releases.
    pub release: String,
}

/// Declared families, numbered from [`FamilyId::FIRST_DECLARED`].
#[derive(Debug, Default)]
pub struct Families {
    declared: Lock<Vec<FamilyNames>>,
}

/// Proof that nobody is declaring a family, for the time of a fork.
#[derive(Debug)]
pub struct HeldFamilies<'a> {
    _guard: MutexGuard<'a, Vec<FamilyNames>>,
}

impl Families {
    /// Keeps everybody else out until the result is dropped.
    pub fn hold(&self) -> HeldFamilies<'_> {
        HeldFamilies {
            _guard: self.declared.lock(),
        }
    }

    /// The number of the family with these functions, declaring it if it is new. `None` when
    /// [`DECLARED_FAMILY_COUNT_MAX`] are declared already.
    pub fn declare(&self, allocate: &str, release: &str) -> Option<FamilyId> {
        let mut declared = self.declared.lock();
        let same = |names: &FamilyNames| names.allocate == allocate && names.release == release;
        let index = match declared.iter().position(same) {
            Some(index) => index,
            None if declared.len() >= DECLARED_FAMILY_COUNT_MAX => return None,
            None => {
                declared.push(FamilyNames {
                    family: format!("{allocate}/{release}"),
                    allocate: allocate.to_owned(),
                    release: release.to_owned(),
                });
                declared.len() - 1
            }
        };
        u16::try_from(index)
            .ok()
            .map(|index| FamilyId(FamilyId::FIRST_DECLARED.0 + index))
    }

    /// Whether a number means a family.
    pub fn exists(&self, family: FamilyId) -> bool {
        match family.0.checked_sub(FamilyId::FIRST_DECLARED.0) {
            None => family.0 <= FamilyId::ADOPTED.0,
            Some(index) => usize::from(index) < self.declared.lock().len(),
        }
    }

    /// What a family is called.
    pub fn names(&self, family: FamilyId) -> FamilyNames {
        let fixed = |family: &str, allocate: &str, release: &str| FamilyNames {
            family: family.to_owned(),
            allocate: allocate.to_owned(),
            release: release.to_owned(),
        };
        match family {
            FamilyId::MALLOC => fixed("malloc", "malloc", "free"),
            FamilyId::NEW => fixed("new", "operator new", "operator delete"),
            FamilyId::NEW_ARRAY => fixed("new[]", "operator new[]", "operator delete[]"),
            FamilyId::HEAPLEDGER => fixed("heapledger", "hl_malloc", "hl_free"),
            FamilyId::ADOPTED => fixed("adopted", "hl_adopt", "hl_disown"),
            declared => {
                let index = declared.0.checked_sub(FamilyId::FIRST_DECLARED.0);
                let names = self.declared.lock();
                let found = index.and_then(|index| names.get(usize::from(index)));
                found
                    .cloned()
                    .unwrap_or_else(|| fixed("unknown", "unknown", "unknown"))
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_same_pair_is_one_family() {
        let families = Families::default();
        let first = families.declare("foo_open", "foo_close").expect("room");
        assert_eq!(families.declare("foo_open", "foo_close"), Some(first));
        assert_ne!(families.declare("bar_open", "bar_close"), Some(first));
        assert_eq!(families.names(first).family, "foo_open/foo_close");
        assert!(families.exists(first));
        assert!(!families.exists(FamilyId(first.0 + 2)));
        assert!(
            !families.exists(FamilyId(7)),
            "a number between the fixed and the declared"
        );
    }

    #[test]
    fn the_number_of_families_is_limited() {
        let families = Families::default();
        for index in 0..DECLARED_FAMILY_COUNT_MAX {
            assert!(
                families
                    .declare(&format!("open_{index}"), "close")
                    .is_some()
            );
        }
        assert_eq!(families.declare("one_more", "close"), None);
    }
}
