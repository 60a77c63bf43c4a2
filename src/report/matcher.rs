//! Which suppression, if any, hides a finding.

use std::collections::BTreeMap;

use super::model::{Finding, Frame, file_name};
use super::suppress::Rule;

/// Tries each different text once: the same frames recur in thousands of findings.
pub(super) struct Matcher<'a> {
    rules: &'a [Rule],
    known: BTreeMap<String, Vec<usize>>,
}

impl<'a> Matcher<'a> {
    /// Tries these rules; knows no text yet.
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
        let mut first: Option<usize> = None;
        for_each_text(finding, |text| {
            let hit = self.rules_matching(text).iter().copied().find(|index| {
                rules
                    .get(*index)
                    .is_some_and(|rule| rule.kind.is_none() || rule.kind == kind)
            });
            first = first.into_iter().chain(hit).min();
        });
        first
    }

    fn rules_matching(&mut self, text: &str) -> &[usize] {
        if !self.known.contains_key(text) {
            let matching = self.rules.iter().enumerate();
            let matching = matching.filter(|(_, rule)| rule.glob.matches(text));
            self.known
                .insert(text.to_owned(), matching.map(|(index, _)| index).collect());
        }
        self.known.get(text).map_or(&[], Vec::as_slice)
    }
}

/// Calls `visit` with every text of the finding that a pattern may match.
fn for_each_text(finding: &Finding, mut visit: impl FnMut(&str)) {
    let mut path = |path: &str| {
        visit(path);
        visit(file_name(path));
    };
    if let Some(called) = &finding.foreign_function {
        path(&called.library);
        visit(&called.name);
    }
    for frame in finding.stacks.frames() {
        match frame {
            Frame::Python { file, function, .. } => {
                visit(function);
                visit(&format!("{file}:{function}"));
                visit(&format!("{}:{function}", file_name(file)));
            }
            Frame::Native {
                library, function, ..
            } => {
                visit(function);
                visit(library);
                visit(file_name(library));
            }
        }
    }
}
