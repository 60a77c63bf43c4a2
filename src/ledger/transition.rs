//! The states of a record and the one place where they change.
//!
//! | state ↓ event → | allocate | withhold | give back | evict | restore | recycle | forget |
//! |---|---|---|---|---|---|---|---|
//! | vacant | live | unknown | unknown | unknown | unknown | unknown | unknown |
//! | live | **superseded** | quarantined | freed | unknown | unknown | unknown | forgotten |
//! | quarantined | **superseded** | released before | released before | freed | unknown | unknown | unknown |
//! | freed | live | released before | released before | unknown | live | vacant | unknown |
//! | forgotten | live | unknown | unknown | unknown | unknown | vacant | unknown |
//!
//! * *allocate*: the allocator handed out this address. A live or quarantined record in its way is
//!   stale: the block went back to the allocator on a path nobody saw.
//! * *withhold*, *give back*: the program releases the block, with and without quarantine. A resize
//!   gives the old address back first.
//! * *evict*: the quarantine lets the memory go.
//! * *restore*: the real call behind a resize failed, so the old block still stands.
//! * *recycle*: the record is needed elsewhere; what it knew of a freed block is lost.
//! * *forget*: the block may be released, or may have been, without our seeing it. This is no release:
//!   whoever is just releasing the block, and saw it live, is told nothing worse than *unknown*.

use super::BlockState;

/// What happens to a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The allocator handed out the address.
    Allocate,
    /// The program released the block; its memory is withheld from reuse.
    Withhold,
    /// The program released the block; its memory goes back at once.
    GiveBack,
    /// The quarantine lets the memory go.
    Evict,
    /// A resize failed and the old block still stands.
    Restore,
    /// The record is wanted for another address.
    Recycle,
    /// Releases pass unseen, or passed unseen meanwhile.
    Forget,
}

/// What an event does to a record. `None` as a state means vacant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The record takes this state.
    Becomes(Option<BlockState>),
    /// The record described a block that no longer exists; it takes the state live.
    Superseded,
    /// The block was released before: the event is the program's error.
    ReleasedBefore,
    /// The event does not concern this record (any more).
    Unknown,
}

/// The state machine: total, and written without a wildcard so that a new state or event does not
/// compile until every row says what it means.
#[inline(always)]
#[must_use]
pub const fn transition(state: Option<BlockState>, event: Event) -> Outcome {
    use BlockState::{Forgotten, Freed, Live, Quarantined};
    use Event::{Allocate, Evict, Forget, GiveBack, Recycle, Restore, Withhold};
    match (state, event) {
        (None | Some(Freed | Forgotten), Allocate) | (Some(Freed), Restore) => {
            Outcome::Becomes(Some(Live))
        }
        (Some(Live | Quarantined), Allocate) => Outcome::Superseded,
        (Some(Live), Withhold) => Outcome::Becomes(Some(Quarantined)),
        (Some(Live), GiveBack) | (Some(Quarantined), Evict) => Outcome::Becomes(Some(Freed)),
        (Some(Freed | Forgotten), Recycle) => Outcome::Becomes(None),
        (Some(Live), Forget) => Outcome::Becomes(Some(Forgotten)),
        (Some(Quarantined | Freed), Withhold | GiveBack) => Outcome::ReleasedBefore,
        (None, Withhold | GiveBack | Evict | Restore | Recycle)
        | (Some(Forgotten), Withhold | GiveBack | Evict | Restore)
        | (Some(Live | Quarantined), Restore | Recycle)
        | (Some(Live | Freed), Evict)
        | (None | Some(Quarantined | Freed | Forgotten), Forget) => Outcome::Unknown,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::BlockState::{Forgotten, Freed, Live, Quarantined};
    use super::Event::{Allocate, Evict, Forget, GiveBack, Recycle, Restore, Withhold};
    use super::Outcome::{Becomes, ReleasedBefore, Superseded, Unknown};
    use super::*;

    const EVENTS: [Event; 7] = [
        Allocate, Withhold, GiveBack, Evict, Restore, Recycle, Forget,
    ];

    fn row(state: Option<BlockState>) -> [Outcome; 7] {
        EVENTS.map(|event| transition(state, event))
    }

    #[test]
    fn vacant() {
        assert_eq!(
            row(None),
            [
                Becomes(Some(Live)),
                Unknown,
                Unknown,
                Unknown,
                Unknown,
                Unknown,
                Unknown
            ]
        );
    }

    #[test]
    fn live() {
        let withheld = Becomes(Some(Quarantined));
        let given_back = Becomes(Some(Freed));
        assert_eq!(
            row(Some(Live)),
            [
                Superseded,
                withheld,
                given_back,
                Unknown,
                Unknown,
                Unknown,
                Becomes(Some(Forgotten))
            ]
        );
    }

    #[test]
    fn quarantined() {
        let evicted = Becomes(Some(Freed));
        assert_eq!(
            row(Some(Quarantined)),
            [
                Superseded,
                ReleasedBefore,
                ReleasedBefore,
                evicted,
                Unknown,
                Unknown,
                Unknown
            ]
        );
    }

    #[test]
    fn freed() {
        let live = Becomes(Some(Live));
        assert_eq!(
            row(Some(Freed)),
            [
                live,
                ReleasedBefore,
                ReleasedBefore,
                Unknown,
                live,
                Becomes(None),
                Unknown
            ]
        );
    }

    #[test]
    fn forgotten() {
        assert_eq!(
            row(Some(Forgotten)),
            [
                Becomes(Some(Live)),
                Unknown,
                Unknown,
                Unknown,
                Unknown,
                Becomes(None),
                Unknown
            ]
        );
    }
}
