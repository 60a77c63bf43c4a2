//! Damage as data: what a write left, and between which two moments.

use super::model::Finding;
use crate::detect::imprint::MomentKind;
use serde::{Deserialize, Serialize};

/// What a write left where it should not have been.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Damage {
    /// How far the first damaged byte lies from the start of the block; negative before it.
    pub offset: i64,
    /// From there to the last damaged byte, as far as was looked.
    pub length: u64,
    /// The first bytes found there, in hexadecimal.
    pub found: String,
    /// The last moment at which the damage was not there.
    pub after: Moment,
    /// The moment at which it was found.
    pub before: Moment,
}

/// An end of the time in which something happened.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Moment {
    /// `allocation`, `release`, `resize`, `check`, `eviction`, `neighbour` or `end`.
    pub event: String,
    /// Where, in words; empty when that is not known.
    pub place: String,
}

impl Finding {
    /// Whether `here` is where other memory came or went, which has nothing to do with the error.
    #[must_use]
    pub fn is_noticed_by_chance(&self) -> bool {
        let chance = [MomentKind::Eviction, MomentKind::Neighbour];
        let event = self.damage.as_ref().map(|damage| &damage.before.event);
        event.is_some_and(|event| chance.iter().any(|kind| kind.name() == event))
    }
}
