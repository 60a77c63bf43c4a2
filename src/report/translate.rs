//! From what the ledger detected to what the report says.

use std::collections::BTreeMap;

use super::hints::{self, Evidence, Learned};
use super::message::{self, Names};
use super::model::{self, Block, Damage, ForeignFunction, Frame, Moment, Stacks};
use super::part::{self, Calls, CallsOf};
use super::{ended_twice, fingerprint, group};
use crate::detect::imprint::{self, Written};
use crate::detect::reach::Holding;
use crate::detect::{BlockFacts, Finding, FindingKind, leak};
use crate::ledger::{FamilyId, StackId};
use crate::memory::Address;

/// Turns the numbers in a finding into text. Never called on the allocation path.
pub trait Resolver {
    /// The frames of a stack, innermost first; empty for an unknown stack.
    fn frames(&self, stack: StackId) -> Vec<Frame>;

    /// The foreign call in progress at a stack.
    fn foreign_function(&self, stack: StackId) -> Option<ForeignFunction>;

    /// The family's name: `malloc`, `new[]`, or the declared pair.
    fn family_name(&self, family: FamilyId) -> String;

    /// What allocates its blocks: `malloc`, `operator new[]`, `foo_open`.
    fn allocate_name(&self, family: FamilyId) -> String;

    /// What releases them: `free`, `operator delete[]`, `foo_close`.
    fn release_name(&self, family: FamilyId) -> String;

    /// Whether a program without an interpreter is reported on: there every block that was not
    /// released counts, also those that the program's own data leads to.
    fn is_plain_program(&self) -> bool {
        false
    }

    /// The library whose data lies at an address; `None` for thread-local data.
    fn library_at(&self, place: Address) -> Option<String> {
        let _ = place;
        None
    }

    /// Whether the report is to say what lies in blocks.
    fn tells_contents(&self) -> bool {
        false
    }

    /// The first bytes of a block as they are now, if it is still the one that was found.
    fn contents(&self, block: &BlockFacts) -> Vec<u8> {
        let _ = block;
        Vec::new()
    }

    /// What the rest of the ledger teaches about a finding.
    fn learned(&self, finding: &Finding) -> Learned {
        let _ = finding;
        Learned::default()
    }
}

/// The report's findings: translated, merged by fingerprint, most serious first.
#[must_use]
pub fn findings_to_model<'a>(
    findings: impl IntoIterator<Item = &'a Finding>,
    resolver: &dyn Resolver,
) -> Vec<model::Finding> {
    let mut translator = Translator {
        resolver,
        stacks: BTreeMap::new(),
    };
    let mut calls = CallsOf::new();
    let translated = findings.into_iter().map(|finding| {
        let translated = translator.finding(finding);
        if finding.kind == FindingKind::DoubleFree
            && let [Some(first), Some(second)] = translator.calls(finding)
            && let Some(made) = Calls::of(&translated, first, second)
        {
            calls.insert(translated.fingerprint.clone(), made);
        }
        translated
    });
    let mut merged = group::merge(translated.collect());
    part::mark(&mut merged, &calls);
    merged
}

/// One finding, for a callback at the moment it occurs.
#[must_use]
pub fn finding_to_model(finding: &Finding, resolver: &dyn Resolver) -> model::Finding {
    Translator {
        resolver,
        stacks: BTreeMap::new(),
    }
    .finding(finding)
}

/// Resolves each stack once: symbolising is dear, and many findings share a stack.
struct Translator<'a> {
    resolver: &'a dyn Resolver,
    stacks: BTreeMap<StackId, Vec<Frame>>,
}

impl Translator<'_> {
    fn finding(&mut self, finding: &Finding) -> model::Finding {
        let stacks = self.stacks(finding);
        let foreign_function = self.foreign_function(finding);
        let names = self.names(finding);
        let kept_by = self.keeper(finding);
        // Hints help to release what is lost; what is kept, a test suite asks for thousands of times.
        let learned = match kept_by {
            None => self.resolver.learned(finding),
            Some(_) => Learned::default(),
        };
        let hints = hints::all(&Evidence {
            finding,
            names: &names,
            stacks: &stacks,
            foreign_function: foreign_function.as_ref(),
            learned: &learned,
            is_kept: kept_by.is_some(),
        });
        let mut translated = model::Finding {
            kind: finding.kind.name().to_owned(),
            count: finding.count,
            bytes: finding.bytes,
            blocks: finding.blocks,
            family: finding
                .block
                .map(|block| self.resolver.family_name(block.family))
                .unwrap_or_default(),
            block: finding
                .block
                .map(|block| self.block(&block, finding.offset)),
            foreign_function,
            handed_to_python: finding.block.is_some_and(|block| block.handed_to_python),
            indirect: kept_by.is_none() && is_part_of_a_leak(finding),
            kept_by,
            damage: self.damage(finding),
            hints,
            stacks,
            ..model::Finding::default()
        };
        translated.hints.extend(hints::made_by_import(&translated));
        let [released_in, accessed_in] = self.calls(finding);
        let twice = ended_twice::hint(&translated, released_in.as_ref(), accessed_in.as_ref());
        translated.hints.extend(twice);
        translated.fingerprint = fingerprint::of(&translated);
        translated.message = match finding.kind {
            FindingKind::Leak => message::leak(&translated),
            _ => message::error(finding, &names),
        };
        translated
    }

    /// The foreign calls that an error's block was released in, and that the error happened in.
    fn calls(&self, finding: &Finding) -> [Option<ForeignFunction>; 2] {
        let released = finding
            .block
            .map_or(StackId::UNKNOWN, |block| block.released);
        [released, finding.here].map(|stack| self.resolver.foreign_function(stack))
    }

    fn damage(&mut self, finding: &Finding) -> Option<Damage> {
        let Written {
            imprint,
            after,
            before,
        } = finding.written?;
        Some(Damage {
            offset: finding.offset,
            length: imprint.length().into(),
            // What lies in a block is the program's: a report has none of it unasked.
            found: match finding.kind {
                FindingKind::UseAfterFree if !self.resolver.tells_contents() => String::new(),
                _ => hexadecimal(imprint.bytes()),
            },
            after: self.moment(after),
            before: self.moment(before),
        })
    }

    fn moment(&mut self, moment: imprint::Moment) -> Moment {
        let frames = self.frames(moment.stack);
        let place = match frames.as_slice() {
            [] => String::new(),
            frames => message::place(None, frames),
        };
        Moment {
            event: moment.kind.name().to_owned(),
            place,
        }
    }

    /// What keeps the blocks of a leak.
    fn keeper(&self, finding: &Finding) -> Option<String> {
        if self.resolver.is_plain_program() || !leak::is_kept_by_somebody(finding) {
            return None;
        }
        let thread_local = || "a thread-local variable".to_owned();
        Some(match finding.holding {
            Holding::Image(place) => self.resolver.library_at(place).unwrap_or_else(thread_local),
            Holding::UnloadedImage => "a library that was unloaded".to_owned(),
            Holding::OtherBlock => "another block that is live".to_owned(),
            _ => "memory outside the ledger".to_owned(),
        })
    }

    fn stacks(&mut self, finding: &Finding) -> Stacks {
        let (allocated, released) = finding
            .block
            .map_or((StackId::UNKNOWN, StackId::UNKNOWN), |block| {
                (block.allocated, block.released)
            });
        Stacks {
            allocated: self.frames(allocated),
            released: self.frames(released),
            here: self.frames(finding.here),
            viewed: finding
                .views
                .map(|(_, made)| self.frames(made))
                .unwrap_or_default(),
        }
    }

    fn frames(&mut self, stack: StackId) -> Vec<Frame> {
        if !stack.is_known() {
            return Vec::new();
        }
        self.stacks
            .entry(stack)
            .or_insert_with(|| self.resolver.frames(stack))
            .clone()
    }

    fn foreign_function(&self, finding: &Finding) -> Option<ForeignFunction> {
        let stack = finding.block.map_or(finding.here, |block| block.allocated);
        stack
            .is_known()
            .then(|| self.resolver.foreign_function(stack))
            .flatten()
    }

    fn block(&self, block: &BlockFacts, offset: i64) -> Block {
        let is_asked_for = self.resolver.tells_contents();
        let bytes = is_asked_for.then(|| self.resolver.contents(block));
        Block {
            address: block.address.get() as u64,
            size: block.size.get() as u64,
            state: block.state.name().to_owned(),
            offset,
            contents: hexadecimal(&bytes.unwrap_or_default()),
        }
    }

    fn names(&self, finding: &Finding) -> Names {
        let Some(block) = finding.block else {
            return Names {
                used_release: self.resolver.release_name(finding.used_family),
                ..Names::default()
            };
        };
        Names {
            allocate: self.resolver.allocate_name(block.family),
            release: self.resolver.release_name(block.family),
            used_release: self.resolver.release_name(finding.used_family),
        }
    }
}

/// Whether only other leaks lead to the blocks. One that was handed to Python had an owner of its own.
fn is_part_of_a_leak(finding: &Finding) -> bool {
    let handed = finding.block.is_some_and(|block| block.handed_to_python);
    finding.holding == Holding::OtherLeak && !handed
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::report::fixtures::{Program, error, leak, python, size_overflow};

    #[test]
    fn a_leak_is_complete() {
        let findings = findings_to_model(&[leak()], &Program);
        let finding = findings.first().unwrap();
        assert_eq!(
            (finding.count, finding.blocks, finding.bytes),
            (10, 10, 3360)
        );
        assert_eq!(finding.family, "new[]");
        assert_eq!(
            finding.block.as_ref().map(|block| block.state.as_str()),
            Some("live")
        );
        assert_eq!(
            finding.foreign_function.as_ref().map(|f| f.name.as_str()),
            Some("get_shared_memory")
        );
        assert_eq!(finding.stacks.allocated.len(), 3);
        assert!(finding.stacks.released.is_empty() && finding.stacks.here.is_empty());
        assert_eq!(finding.fingerprint.len(), 16);
        assert!(
            finding
                .message
                .starts_with("leak of 10 blocks, 3360 bytes, allocated by libcpp.so")
        );
    }

    #[test]
    fn a_double_free_has_three_stacks() {
        let finding = finding_to_model(&error(FindingKind::DoubleFree, 48), &Program);
        assert_eq!(
            finding.stacks.here.first(),
            Some(&python("/srv/app.py", 24, "Dataset.__del__"))
        );
        assert_eq!(
            finding.stacks.released.first(),
            Some(&python("/srv/app.py", 20, "Dataset.close"))
        );
        assert_eq!(
            finding.stacks.allocated.get(1),
            Some(&python("/srv/app.py", 12, "load"))
        );
    }

    #[test]
    fn what_is_unknown_stays_null_and_empty() {
        let mut unknown = size_overflow(9);
        unknown.here = StackId::UNKNOWN;
        let finding = finding_to_model(&unknown, &Program);
        assert_eq!(
            (
                finding.block,
                finding.foreign_function,
                finding.family.as_str()
            ),
            (None, None, "")
        );
        assert_eq!(finding.stacks, Stacks::default());
    }

    #[test]
    fn stacks_with_the_same_content_are_one_finding() {
        struct Same;
        impl Resolver for Same {
            fn frames(&self, _: StackId) -> Vec<Frame> {
                vec![python("a.py", 1, "f")]
            }
            fn foreign_function(&self, _: StackId) -> Option<ForeignFunction> {
                None
            }
            fn family_name(&self, _: FamilyId) -> String {
                String::new()
            }
            fn allocate_name(&self, _: FamilyId) -> String {
                String::new()
            }
            fn release_name(&self, _: FamilyId) -> String {
                String::new()
            }
        }
        let mut other = leak();
        other.block.as_mut().unwrap().allocated = StackId(8);
        let findings = findings_to_model(&[leak(), other], &Same);
        assert_eq!(findings.len(), 1);
        assert_eq!(
            findings.first().unwrap().message,
            "leak of 20 blocks, 6720 bytes, allocated at a.py:1 in f"
        );
    }

    #[test]
    fn each_stack_is_resolved_once() {
        #[derive(Default)]
        struct Counting(Cell<u32>);
        impl Resolver for Counting {
            fn frames(&self, stack: StackId) -> Vec<Frame> {
                self.0.set(self.0.get() + 1);
                Program.frames(stack)
            }
            fn foreign_function(&self, stack: StackId) -> Option<ForeignFunction> {
                Program.foreign_function(stack)
            }
            fn family_name(&self, family: FamilyId) -> String {
                Program.family_name(family)
            }
            fn allocate_name(&self, family: FamilyId) -> String {
                Program.allocate_name(family)
            }
            fn release_name(&self, family: FamilyId) -> String {
                Program.release_name(family)
            }
        }
        let resolver = Counting::default();
        let errors = [
            error(FindingKind::DoubleFree, 48),
            error(FindingKind::MismatchedFree, 48),
        ];
        let _ = findings_to_model(&errors, &resolver);
        assert_eq!(resolver.0.get(), 3);
    }
}
