//! What a colleague would add to a finding, from what is already known about it.
//!
//! Each rule is a function from the evidence to a sentence or nothing, listed in `RULES` in the order
//! in which the sentences appear. A rule states what it saw, and says "likely" where it guesses.

use super::message::{Names, foreign_name};
use super::model::{self, ForeignFunction, Frame, Stacks, file_name};
use super::number::counted;
use crate::detect::reach::Holding;
use crate::detect::{Finding, FindingKind, PointerPlace};
use crate::ledger::FamilyId;

/// Everything that a rule may look at.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The finding.
    pub finding: &'a Finding,
    /// The functions of the families concerned.
    pub names: &'a Names,
    /// Its stacks.
    pub stacks: &'a Stacks,
    /// The foreign function that allocated the block.
    pub foreign_function: Option<&'a ForeignFunction>,
    /// What the rest of the ledger teaches.
    pub learned: &'a Learned,
    /// Whether the report says what keeps the block.
    pub is_kept: bool,
}

/// What only the whole ledger can know about a finding. Empty: nothing learned.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Learned {
    /// Whether the allocating function's `restype` is `c_char_p`, which copies the text.
    pub result_was_copied: bool,
    /// The Python line that allocated the next block of an overflow.
    pub next_block_place: Option<String>,
    /// What usually releases the blocks of the allocating function.
    pub usual_release: Option<UsualRelease>,
    /// Releases of pointers inside blocks that were allocated where this one was; all refused.
    pub interior_release_count: u64,
}

/// How the blocks of one allocating function ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsualRelease {
    /// Blocks that `function` released.
    pub released: u64,
    /// Blocks that the allocating function returned.
    pub total: u64,
    /// What released them.
    pub function: ForeignFunction,
    /// The Python line that did, when it was always the same.
    pub place: Option<String>,
}

/// Sizes that are more likely a negative length than a large product.
const NEGATIVE_SIZES: std::ops::Range<isize> = -(1 << 40)..0;

const RULES: &[fn(&Evidence<'_>) -> Option<String>] = &[
    copied_result,
    usual_release,
    first_release_in_collection,
    second_release_in_collection,
    same_line,
    copied_wrapper,
    interior_pointer,
    released_inside,
    nearer_to_the_next,
    negative_size,
    missing_restype,
    still_referenced,
];

/// Every hint that applies, in a fixed order.
#[must_use]
pub fn all(evidence: &Evidence<'_>) -> Vec<String> {
    RULES.iter().filter_map(|rule| rule(evidence)).collect()
}

/// What tells an object that a module makes for itself from one that is made again and again.
#[must_use]
pub fn made_by_import(finding: &model::Finding) -> Option<String> {
    let module = file_name(finding.made_by_import()?);
    Some(format!(
        "allocated while {module} was being imported: likely made once, whatever the program does"
    ))
}

fn copied_result(evidence: &Evidence<'_>) -> Option<String> {
    evidence.learned.result_was_copied.then(|| {
        "returned by a function whose restype is c_char_p: ctypes copied the bytes and dropped the \
         pointer"
            .to_owned()
    })
}

fn usual_release(evidence: &Evidence<'_>) -> Option<String> {
    let usual = evidence.learned.usual_release.as_ref()?;
    let allocating = evidence.foreign_function?;
    let (released, total) = (usual.released, counted(usual.total, "block"));
    let releasing = foreign_name(&usual.function);
    let from = &allocating.name;
    let at = match &usual.place {
        Some(place) => format!(", at {place}"),
        None => String::new(),
    };
    Some(format!(
        "{released} of the {total} from {from} were released by {releasing}{at}"
    ))
}

fn first_release_in_collection(evidence: &Evidence<'_>) -> Option<String> {
    let collector = collector(&evidence.stacks.released)?;
    let what = match evidence.finding.kind {
        FindingKind::DoubleFree | FindingKind::ReallocAfterFree => "first released",
        _ => "released",
    };
    Some(format!("{what} {collector}"))
}

fn second_release_in_collection(evidence: &Evidence<'_>) -> Option<String> {
    let what = match evidence.finding.kind {
        FindingKind::DoubleFree => "released again",
        FindingKind::InvalidFree | FindingKind::MismatchedFree => "released",
        _ => return None,
    };
    let collector = collector(&evidence.stacks.here)?;
    Some(format!("{what} {collector}"))
}

/// What Python was doing when it released the block by itself.
fn collector(stack: &[Frame]) -> Option<String> {
    stack.iter().find_map(|frame| {
        let Frame::Python { file, function, .. } = frame else {
            return None;
        };
        let name = function.rsplit('.').next().unwrap_or_default();
        if name == "__del__" {
            return Some(format!("during garbage collection, in {function}"));
        }
        match (file_name(file), function.as_str()) {
            ("weakref.py", "finalize._exitfunc") => {
                Some("at interpreter exit, by a weakref.finalize callback".to_owned())
            }
            ("weakref.py", "finalize.__call__") => {
                Some("by a weakref.finalize callback".to_owned())
            }
            _ => None,
        }
    })
}

fn same_line(evidence: &Evidence<'_>) -> Option<String> {
    if evidence.finding.kind != FindingKind::DoubleFree {
        return None;
    }
    let (file, line) = python_line(&evidence.stacks.here)?;
    (python_line(&evidence.stacks.released)? == (file, line)).then(|| {
        format!(
            "both releases come from the same line, {}:{line}",
            file_name(file)
        )
    })
}

fn python_line(stack: &[Frame]) -> Option<(&str, u32)> {
    stack.iter().find_map(|frame| match frame {
        Frame::Python { file, line, .. } => Some((file.as_str(), *line)),
        Frame::Native { .. } => None,
    })
}

/// The interpreter calls `__del__` once for each object, so when two of one class meet at one block,
/// two objects have the same pointer, unless somebody called it by name.
fn copied_wrapper(evidence: &Evidence<'_>) -> Option<String> {
    let what = match evidence.finding.kind {
        FindingKind::DoubleFree => "released",
        // The library reads the block before it comes to releasing it again.
        FindingKind::UseAfterFree => "destroyed",
        _ => return None,
    };
    let first = finalised_class(&evidence.stacks.released)?;
    let second = finalised_class(&evidence.stacks.here)?;
    (first == second).then(|| {
        let wrapper = second.1;
        format!(
            "{what} by two copies of one {wrapper} (copy.copy of an owner copies the pointer, not \
             the memory), unless __del__ was called by name"
        )
    })
}

/// File and class of the innermost `__del__` that the interpreter called: not one that another
/// method of the class called, as `close` and `__exit__` may.
fn finalised_class(stack: &[Frame]) -> Option<(&str, &str)> {
    let mut methods = stack.iter().filter_map(|frame| match frame {
        Frame::Python { file, function, .. } => Some((file.as_str(), function.as_str())),
        Frame::Native { .. } => None,
    });
    let (file, class) = methods.find_map(|(file, function)| {
        function.strip_suffix(".__del__").map(|class| (file, class))
    })?;
    let is_own_method = |function: &str| {
        function
            .strip_prefix(class)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    match methods.next() {
        Some((_, caller)) if is_own_method(caller) => None,
        _ => Some((file, class.rsplit('.').next().unwrap_or(class))),
    }
}

fn interior_pointer(evidence: &Evidence<'_>) -> Option<String> {
    let finding = evidence.finding;
    let block = finding.block?;
    if finding.kind != FindingKind::InvalidFree || finding.place != PointerPlace::Interior {
        return None;
    }
    // An adopted block has no release function of its own.
    let release = match evidence.names.release.as_str() {
        "" => String::new(),
        _ if block.family == FamilyId::ADOPTED => String::new(),
        release => format!(", with {release}"),
    };
    let start = block.address;
    Some(format!(
        "the block starts at {start}: release that address{release}"
    ))
}

fn released_inside(evidence: &Evidence<'_>) -> Option<String> {
    let count = evidence.learned.interior_release_count;
    (evidence.finding.kind == FindingKind::Leak && count > 0).then(|| {
        let releases = counted(count, "release");
        format!(
            "{releases} of a pointer inside such a block {} refused, an invalid free: likely meant \
             for the block",
            if count == 1 { "was" } else { "were" }
        )
    })
}

fn nearer_to_the_next(evidence: &Evidence<'_>) -> Option<String> {
    let next = evidence.finding.next?;
    let distance = counted(next.distance.get() as u64, "byte");
    let size = counted(next.size.get() as u64, "byte");
    let place = match &evidence.learned.next_block_place {
        Some(place) => format!(", allocated at {place}"),
        None => String::new(),
    };
    Some(format!(
        "or {distance} before the next block ({size}{place}): a negative index writes there"
    ))
}

fn negative_size(evidence: &Evidence<'_>) -> Option<String> {
    let finding = evidence.finding;
    let signed = finding.requested.get().cast_signed();
    if finding.kind != FindingKind::SizeOverflow || !NEGATIVE_SIZES.contains(&signed) {
        return None;
    }
    // A product that does not fit is recorded as the largest size, which is -1 too.
    let doubt = if signed == -1 {
        ", or like a product that overflowed"
    } else {
        ""
    };
    Some(format!(
        "the size looks like the negative number {signed}{doubt}"
    ))
}

fn missing_restype(evidence: &Evidence<'_>) -> Option<String> {
    (evidence.finding.kind == FindingKind::TruncatedPointer).then(|| {
        "the pointer equals the low 32 bits of a live block: likely the function's restype is not \
         set (ctypes assumes int); set it to c_void_p"
            .to_owned()
    })
}

fn still_referenced(evidence: &Evidence<'_>) -> Option<String> {
    let sentence = match evidence.finding.holding {
        Holding::OtherLeak => "only another block that was not released refers to it",
        Holding::Nowhere if !evidence.finding.block?.handed_to_python => {
            "nothing in the process refers to it any more"
        }
        Holding::Image(_) | Holding::UnloadedImage if !evidence.is_kept => {
            "the data of the program or of a library still refers to it"
        }
        Holding::Image(_)
        | Holding::UnloadedImage
        | Holding::Nowhere
        | Holding::OtherBlock
        | Holding::Elsewhere
        | Holding::Unknown => {
            return None;
        }
    };
    Some(sentence.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::finding::NextBlock;
    use crate::ledger::StackId;
    use crate::memory::ByteCount;
    use crate::report::fixtures::{error, error_at, foreign, leak, native, python, size_overflow};

    fn hints_of(finding: &Finding, stacks: &Stacks, learned: &Learned) -> Vec<String> {
        let names = Names {
            release: "operator delete[]".to_owned(),
            ..Names::default()
        };
        all(&Evidence {
            finding,
            names: &names,
            stacks,
            foreign_function: Some(&foreign("/opt/libcpp.so", "get_shared_memory")),
            learned,
            is_kept: false,
        })
    }

    fn hints_without_stacks(finding: &Finding) -> Vec<String> {
        hints_of(finding, &Stacks::default(), &Learned::default())
    }

    #[test]
    fn nothing_known_gives_no_hint() {
        for kind in FindingKind::ALL {
            if kind != FindingKind::TruncatedPointer {
                assert_eq!(hints_without_stacks(&error(kind, 48)), Vec::<String>::new());
            }
        }
    }

    #[test]
    fn an_overflow_far_behind_its_block_may_be_meant_for_the_next() {
        let finding = Finding {
            next: Some(NextBlock {
                distance: ByteCount::new(20),
                size: ByteCount::new(1),
                allocated: StackId(4),
            }),
            ..error_at(FindingKind::HeapOverflow, 48, 90)
        };
        let place = |place: Option<&str>| {
            let learned = Learned {
                next_block_place: place.map(str::to_owned),
                ..Learned::default()
            };
            hints_of(&finding, &Stacks::default(), &learned)
        };
        let hint = "or 20 bytes before the next block (1 byte): a negative index writes there";
        assert_eq!(place(None), [hint]);
        let allocated = "(1 byte, allocated at a.py:3 in make)";
        assert_eq!(
            place(Some("a.py:3 in make")),
            [hint.replace("(1 byte)", allocated)]
        );
    }

    #[test]
    fn releases_in_garbage_collection_are_named() {
        let stacks = Stacks {
            released: vec![native("l", "free", 1), python("a.py", 3, "Dataset.__del__")],
            here: vec![python("/lib/weakref.py", 590, "finalize.__call__")],
            ..Stacks::default()
        };
        assert_eq!(
            hints_of(
                &error(FindingKind::DoubleFree, 48),
                &stacks,
                &Learned::default()
            ),
            [
                "first released during garbage collection, in Dataset.__del__",
                "released again by a weakref.finalize callback",
            ]
        );
        assert_eq!(
            hints_of(
                &error(FindingKind::UseAfterFree, 48),
                &stacks,
                &Learned::default()
            ),
            ["released during garbage collection, in Dataset.__del__"]
        );
    }

    #[test]
    fn two_objects_finalised_with_one_pointer_are_copies() {
        let by = |caller: &str| {
            vec![
                python("/srv/a.py", 3, "<locals>.Image.__del__"),
                python("/srv/a.py", 9, caller),
            ]
        };
        let copies = |released, here| {
            let stacks = Stacks {
                released,
                here,
                ..Stacks::default()
            };
            hints_of(
                &error(FindingKind::DoubleFree, 48),
                &stacks,
                &Learned::default(),
            )
            .iter()
            .any(|hint| hint.starts_with("released by two copies of one Image"))
        };
        assert!(copies(by("main"), by("other")));
        assert!(!copies(by("main"), by("<locals>.Image.close")), "by hand");
        assert!(!copies(by("main"), vec![python("/srv/a.py", 4, "close")]));
    }

    #[test]
    fn two_releases_by_one_line() {
        let line = vec![native("l", "free", 1), python("/srv/a.py", 3, "close")];
        let stacks = Stacks {
            released: line.clone(),
            here: line,
            ..Stacks::default()
        };
        assert_eq!(
            hints_of(
                &error(FindingKind::DoubleFree, 48),
                &stacks,
                &Learned::default()
            ),
            ["both releases come from the same line, a.py:3"]
        );
    }

    #[test]
    fn sizes_that_look_negative() {
        assert_eq!(
            hints_without_stacks(&size_overflow(usize::MAX)),
            ["the size looks like the negative number -1, or like a product that overflowed"]
        );
        assert_eq!(
            hints_without_stacks(&size_overflow(usize::MAX - 7)),
            ["the size looks like the negative number -8"]
        );
        assert_eq!(
            hints_without_stacks(&size_overflow(usize::MAX / 2 + 9)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_interior_pointer_names_the_start() {
        let mut finding = error_at(FindingKind::InvalidFree, 336, 8);
        finding.place = PointerPlace::Interior;
        assert_eq!(
            hints_without_stacks(&finding),
            ["the block starts at 0x7f10: release that address, with operator delete[]"]
        );
        finding.block.as_mut().unwrap().family = FamilyId::ADOPTED;
        assert_eq!(
            hints_without_stacks(&finding),
            ["the block starts at 0x7f10: release that address"]
        );
    }

    #[test]
    fn what_the_ledger_teaches() {
        let learned = Learned {
            result_was_copied: true,
            usual_release: Some(UsualRelease {
                released: 41,
                total: 42,
                function: foreign("/opt/libcpp.so", "free_shared_memory"),
                place: Some("app.py:33 in Reader.close".to_owned()),
            }),
            interior_release_count: 2,
            ..Learned::default()
        };
        assert_eq!(
            hints_of(&leak(), &Stacks::default(), &learned),
            [
                "returned by a function whose restype is c_char_p: ctypes copied the bytes and \
                 dropped the pointer",
                "41 of the 42 blocks from get_shared_memory were released by libcpp.so \
                 free_shared_memory, at app.py:33 in Reader.close",
                "2 releases of a pointer inside such a block were refused, an invalid free: likely \
                 meant for the block",
            ]
        );
    }
}
