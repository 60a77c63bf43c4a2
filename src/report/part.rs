//! Double frees that are one error: an object that is released twice releases each of its parts twice.
//!
//! Two double frees belong together when the same calls made them: the first releases of both happened in
//! a foreign call of the same function, made at the same Python lines, and so did the second ones. What the
//! function does inside may differ: a destructor releases one member after the other. One of them is told in
//! full, the others in short; each stays a finding.
//!
//! Not when a single call may have made both releases, going two ways: then the error is the library's,
//! at each place its own. Nor when Python called `free` itself: that releases nothing but its argument.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Finding, ForeignFunction, Frame};

/// The calls of the double frees of a report, by their fingerprints.
pub type CallsOf = BTreeMap<String, Calls>;

/// The two foreign calls that released a block.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Debug)]
pub struct Calls {
    first: Call,
    second: Call,
}

/// A call from Python into a library.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Debug)]
struct Call {
    function: ForeignFunction,
    /// Where it was made, innermost first.
    lines: Vec<Frame>,
}

impl Calls {
    /// Those of a double free that happened in calls of these functions, the first release's first.
    #[must_use]
    pub fn of(finding: &Finding, first: ForeignFunction, second: ForeignFunction) -> Option<Self> {
        let stacks = &finding.stacks;
        let first = Call::new(first, &stacks.released)?;
        let second = Call::new(second, &stacks.here)?;
        let may_be_one = first == second && way(&stacks.released) != way(&stacks.here);
        (!may_be_one).then_some(Self { first, second })
    }
}

impl Call {
    fn new(function: ForeignFunction, stack: &[Frame]) -> Option<Self> {
        let lines = stack.iter().filter(|frame| frame.is_python());
        let lines: Vec<Frame> = lines.cloned().collect();
        (!lines.is_empty()).then_some(Self { function, lines })
    }
}

/// The frames from a foreign call to an event in it. None where Python called what released the block, or a
/// function that went over to that with a jump.
fn way(stack: &[Frame]) -> &[Frame] {
    let called = stack.iter().position(Frame::is_python);
    stack.split_at(called.unwrap_or(stack.len())).0
}

/// Says of each double free which other one it is part of: the one whose block Python had in its hands,
/// else the first.
pub fn mark(findings: &mut [Finding], calls: &CallsOf) {
    let mut wholes: BTreeMap<&Calls, &Finding> = BTreeMap::new();
    let mut through_library: BTreeSet<&Calls> = BTreeSet::new();
    for finding in findings.iter() {
        let Some(calls) = calls.get(&finding.fingerprint) else {
            continue;
        };
        if !way(&finding.stacks.here).is_empty() {
            through_library.insert(calls);
        }
        let whole = wholes.entry(calls).or_insert(finding);
        if finding.handed_to_python && !whole.handed_to_python {
            *whole = finding;
        }
    }
    let part_of = |finding: &Finding| {
        let calls = calls.get(&finding.fingerprint)?;
        let whole = &wholes.get(calls)?.fingerprint;
        let is_part = through_library.contains(calls) && *whole != finding.fingerprint;
        is_part.then(|| whole.clone())
    };
    let marks: Vec<Option<String>> = findings.iter().map(part_of).collect();
    for (finding, mark) in findings.iter_mut().zip(marks) {
        finding.part_of = mark;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures::{foreign, native, python};
    use crate::report::model::Stacks;

    struct DoubleFree {
        finding: Finding,
        functions: [&'static str; 2],
    }

    /// A release by a member's destructor at `place`, in a call at a Python line.
    fn release(place: u64, line: u32) -> Vec<Frame> {
        vec![
            native("libx.so", "Member::~Member", place),
            python("app.py", line, "close"),
            python("app.py", 1, "<module>"),
        ]
    }

    fn double_free(fingerprint: &str, released: Vec<Frame>, here: Vec<Frame>) -> DoubleFree {
        let finding = Finding {
            fingerprint: fingerprint.to_owned(),
            stacks: Stacks {
                released,
                here,
                ..Stacks::default()
            },
            ..Finding::default()
        };
        let functions = ["destroy", "destroy"];
        DoubleFree { finding, functions }
    }

    fn marks(found: Vec<DoubleFree>) -> Vec<Option<String>> {
        let mut calls = CallsOf::new();
        for DoubleFree { finding, functions } in &found {
            let [first, second] = functions.map(|name| foreign("libx.so", name));
            let made = Calls::of(finding, first, second);
            calls.extend(made.map(|made| (finding.fingerprint.clone(), made)));
        }
        let mut findings: Vec<_> = found.into_iter().map(|it| it.finding).collect();
        mark(&mut findings, &calls);
        findings.into_iter().map(|it| it.part_of).collect()
    }

    fn twice(fingerprint: &str, place: u64) -> DoubleFree {
        double_free(fingerprint, release(place, 5), release(place, 9))
    }

    /// The function's last step is a jump to `free`, or Python called `free`.
    fn last(fingerprint: &str) -> DoubleFree {
        let stack = |line| release(1, line).split_off(1);
        double_free(fingerprint, stack(5), stack(9))
    }

    #[test]
    fn parts_of_an_object_belong_to_the_one_that_python_had() {
        let mut object = last("object");
        object.finding.handed_to_python = true;
        let whole = Some("object".to_owned());
        assert_eq!(
            marks(vec![twice("a", 1), object, twice("b", 2)]),
            [whole.clone(), None, whole]
        );
    }

    #[test]
    fn without_one_they_belong_to_the_first() {
        let first = Some("a".to_owned());
        assert_eq!(
            marks(vec![twice("a", 1), twice("b", 2), twice("c", 3)]),
            [None, first.clone(), first]
        );
    }

    #[test]
    fn other_lines_and_functions_stay_apart_and_so_do_calls_of_free() {
        let line = double_free("line", release(2, 6), release(2, 9));
        let mut function = twice("function", 2);
        function.functions = ["close", "destroy"];
        let mut plain = twice("plain", 2);
        plain.finding.stacks.here.truncate(1);
        assert!(
            marks(vec![twice("a", 1), line, function, plain])
                .iter()
                .all(Option::is_none)
        );
        assert_eq!(marks(vec![last("a"), last("b")]), [None, None]);
    }

    #[test]
    fn a_call_that_may_release_twice_itself_is_an_error_at_each_place() {
        let within = |name, first, second| double_free(name, release(first, 5), release(second, 5));
        assert_eq!(
            marks(vec![within("a", 1, 2), within("b", 3, 4)]),
            [None, None]
        );
        assert_eq!(
            marks(vec![within("a", 1, 1), within("b", 3, 3)]),
            [None, Some("a".to_owned())],
            "a line in a loop"
        );
    }
}
