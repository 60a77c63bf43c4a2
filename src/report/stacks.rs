//! The stacks of a finding as data.

use super::model::Frame;
use serde::{Deserialize, Serialize};

/// The stacks of a finding, innermost frame first. Empty: not known, or not of this kind.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stacks {
    /// Where the block was allocated.
    pub allocated: Vec<Frame>,
    /// Where it was released (of a double free: the first time).
    pub released: Vec<Frame>,
    /// Where the error was detected.
    pub here: Vec<Frame>,
    /// Where the first view was made that dangles; absent for other errors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub viewed: Vec<Frame>,
}

impl Stacks {
    /// Every frame of every stack.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.here
            .iter()
            .chain(&self.released)
            .chain(&self.allocated)
            .chain(&self.viewed)
    }
}
