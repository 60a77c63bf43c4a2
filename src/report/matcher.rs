//! Which suppression, if any, hides a finding.

use std::collections::BTreeMap;

use super::model::{Finding, Frame, file_name};
use super::suppress::Rule;

/// Tries each different frame once: the same frames recur in thousands of findings.
pub(super) struct Matcher<'a> {
    rules: &'a [Rule],
    known: BTreeMap<String, Vec<usize>>,
}

/// The names of one frame, or of a foreign function.
#[derive(Clone, Copy)]
enum Place<'a> {
    Python { file: &'a str, function: &'a str },
    Native { library: &'a str, function: &'a str },
}

impl<'a> Matcher<'a> {
    /// Tries these rules; knows no frame yet.
    pub(super) const fn new(rules: &'a [Rule]) -> Self {
        Self {
            rules,
            known: BTreeMap::new(),
        }
    }

    /// The first rule, by line, that hides the finding.
    pub(super) fn first_match(&mut self, finding: &Finding) -> Option<usize> {
        let kind = finding.known_kind();
        let rules = self.rules;
        let fits = |index: &usize| {
            let rule = rules.get(*index);
            rule.is_some_and(|rule| rule.kind.is_none() || rule.kind == kind)
        };
        let hits = places(finding).filter_map(|place| {
            let matching = self.rules_matching(place);
            matching.iter().copied().find(fits)
        });
        hits.min()
    }

    /// The rules of any kind that match a place, in their order.
    fn rules_matching(&mut self, place: Place<'_>) -> &[usize] {
        let whole = place.whole();
        let rules = self.rules;
        self.known.entry(whole).or_insert_with_key(|whole| {
            let numbered = rules.iter().enumerate();
            numbered
                .filter(|(_, rule)| rule.glob.may_match_within(whole) && place.is_named(rule))
                .map(|(index, _)| index)
                .collect()
        })
    }
}

impl Place<'_> {
    /// A text that contains every name of the place, and that no other place has: the length tells
    /// where a file ends whose name has a colon.
    fn whole(self) -> String {
        match self {
            Self::Python { file, function } => format!("{file}:{function}\0{}", file.len()),
            Self::Native { library, function } => format!("{library}\0{function}"),
        }
    }

    fn is_named(self, rule: &Rule) -> bool {
        let matches = |text: &str| rule.glob.matches(text);
        match self {
            Self::Python { file, function } => {
                matches(function)
                    || matches(&format!("{file}:{function}"))
                    || matches(&format!("{}:{function}", file_name(file)))
            }
            Self::Native { library, function } => {
                matches(function) || matches(library) || matches(file_name(library))
            }
        }
    }
}

/// The foreign function, then every frame of every stack.
fn places(finding: &Finding) -> impl Iterator<Item = Place<'_>> {
    let foreign = finding.foreign_function.iter().map(|called| Place::Native {
        library: &called.library,
        function: &called.name,
    });
    foreign.chain(finding.stacks.frames().map(|frame| match frame {
        Frame::Python { file, function, .. } => Place::Python { file, function },
        Frame::Native {
            library, function, ..
        } => Place::Native { library, function },
    }))
}
