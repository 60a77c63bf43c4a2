//! The sentence of a finding: what, where, whose. Pure text over plain data.

use super::model::{self, ForeignFunction, Frame, file_name};
use super::number::{article, counted};
use super::{crash, dangling};
use crate::detect::finding::Access;
use crate::detect::{BlockFacts, Finding, FindingKind, PointerPlace};
use crate::ledger::{BlockState, ThreadNumber};

/// The functions that a sentence names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// What allocates blocks of the block's family, such as `operator new[]`.
    pub allocate: String,
    /// What releases them, such as `operator delete[]`.
    pub release: String,
    /// The release function that was called.
    pub used_release: String,
}

/// The sentence of an error. Leaks have [`leak`], because theirs changes when leaks are merged.
#[must_use]
pub fn error(finding: &Finding, names: &Names) -> String {
    let address = finding.address;
    match finding.kind {
        FindingKind::Leak => "leak".to_owned(),
        FindingKind::DoubleFree => repeated("double free", finding, "first freed"),
        FindingKind::InvalidFree => invalid_free(finding),
        FindingKind::MismatchedFree => mismatched_free(finding, names),
        FindingKind::UseAfterFree if finding.views.is_some() => dangling::sentence(finding),
        FindingKind::UseAfterFree if finding.access == Access::Followed => crash::followed(finding),
        FindingKind::UseAfterFree => access("use after free", finding),
        FindingKind::HeapOverflow => access("heap overflow", finding),
        FindingKind::HeapUnderflow => access("heap underflow", finding),
        FindingKind::ReallocAfterFree => repeated("realloc after free", finding, "freed"),
        FindingKind::SizeOverflow => format!(
            "size overflow: {} requested{}, and no block can be that large",
            counted(wide(finding.requested.get()), "byte"),
            by_thread(finding.thread),
        ),
        FindingKind::TruncatedPointer => match finding.block {
            Some(block) => format!(
                "truncated pointer: {address} equals the low 32 bits of the address of {}",
                sized_at(&block)
            ),
            None => format!("truncated pointer: {address} was cut to 32 bits"),
        },
    }
}

/// The sentence of a leak, from the amounts and the stack in the model.
#[must_use]
pub fn leak(finding: &model::Finding) -> String {
    let what = match &finding.kept_by {
        Some(keeper) => format!("kept by {}:", file_name(keeper)),
        None => "leak of".to_owned(),
    };
    format!(
        "{what} {}, {}, allocated {}",
        counted(finding.blocks, "block"),
        counted(finding.bytes, "byte"),
        place(finding.foreign_function.as_ref(), &finding.stacks.allocated),
    )
}

/// Where something happened, in words that follow a verb: the foreign function, then the innermost
/// Python line or, without one, the innermost native frame that is not the standard library's.
#[must_use]
pub fn place(foreign: Option<&ForeignFunction>, stack: &[Frame]) -> String {
    let by = foreign.map(|called| format!("by {}", foreign_name(called)));
    let python = stack.iter().find(|frame| frame.is_python());
    let at = match (python, &by) {
        (Some(frame), _) => Some(at_frame(frame)),
        (None, Some(_)) => None,
        (None, None) => telling(stack).map(at_frame),
    };
    match (by, at) {
        (Some(by), Some(at)) => format!("{by} {at}"),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => "at an unknown place".to_owned(),
    }
}

/// The frame that tells most of a native stack: what is inlined from `std::vector` names headers of
/// the compiler.
fn telling(stack: &[Frame]) -> Option<&Frame> {
    const STANDARD: [&str; 4] = ["std::", "__gnu_cxx::", "operator new", "alloc::"];
    let is_own = |frame: &&Frame| match frame {
        Frame::Python { .. } => true,
        Frame::Native { function, .. } => {
            !frame.is_internal() && !STANDARD.iter().any(|prefix| function.starts_with(prefix))
        }
    };
    stack.iter().find(is_own).or(stack.first())
}

/// A foreign function as people say it: `libcpp.so get_shared_memory`.
#[must_use]
pub fn foreign_name(called: &ForeignFunction) -> String {
    format!("{} {}", file_name(&called.library), called.name)
        .trim()
        .to_owned()
}

fn at_frame(frame: &Frame) -> String {
    let (file, line, function, library) = match frame {
        Frame::Python {
            file,
            line,
            function,
        } => (file, line, function, ""),
        Frame::Native {
            library,
            function,
            file,
            line,
            ..
        } => (file, line, function, library.as_str()),
    };
    match (file_name(file), function.as_str(), file_name(library)) {
        ("", "", "") => "at an unknown place".to_owned(),
        ("", "", library) => format!("in {library}"),
        ("", function, "") => format!("in {function}"),
        ("", function, library) => format!("in {function} ({library})"),
        (file, "", _) => format!("at {file}:{line}"),
        (file, function, _) => format!("at {file}:{line} in {function}"),
    }
}

/// A release, or a resize, of a block that had been released before.
fn repeated(what: &str, finding: &Finding, before: &str) -> String {
    let by = by_thread(finding.thread);
    let Some(block) = finding.block else {
        return format!(
            "{what} of {}{by}; its record is no longer there",
            finding.address
        );
    };
    let first = match block.released_by {
        ThreadNumber(0) => " by an unknown thread".to_owned(),
        thread => by_thread(thread),
    };
    format!("{what} of {}{by}, {before}{first}", sized_at(&block))
}

fn invalid_free(finding: &Finding) -> String {
    let what = match (finding.place, finding.block) {
        (PointerPlace::Stack, _) => "it lies on a thread's stack, not on the heap".to_owned(),
        (PointerPlace::Image, _) => {
            "it lies in the code or data of a loaded image, not on the heap".to_owned()
        }
        (PointerPlace::Unmapped, _) => "no memory is mapped there".to_owned(),
        (PointerPlace::Interior | PointerPlace::Block | PointerPlace::Unknown, Some(block)) => {
            relative_to(finding.offset, &block, &with_state(&block))
        }
        (PointerPlace::Interior | PointerPlace::Block | PointerPlace::Unknown, None) => {
            "the ledger knows no block there; it may belong to another allocator".to_owned()
        }
    };
    format!(
        "invalid free of {}: {what}{}",
        finding.address,
        thread_apart(finding.thread)
    )
}

fn mismatched_free(finding: &Finding, names: &Names) -> String {
    let expected = match names.release.as_str() {
        "" => String::new(),
        release => format!(" instead of {release}"),
    };
    let size = match finding.block {
        Some(block) => format!("{} at {}", counted(size_of(&block), "byte"), block.address),
        None => finding.address.to_string(),
    };
    let beside = match finding.offset {
        0 => String::new(),
        1.. => format!(
            ", by a pointer {} inside, behind the number of its objects",
            counted(finding.offset.unsigned_abs(), "byte")
        ),
        _ => format!(
            ", as an array of objects, whose number would stand {} before it",
            counted(finding.offset.unsigned_abs(), "byte")
        ),
    };
    format!(
        "mismatched free: a block of {} released by {}{expected} ({size}){beside}{}",
        or_unknown(&names.allocate),
        or_unknown(&names.used_release),
        thread_apart(finding.thread),
    )
}

/// An access to memory that the program must not touch.
fn access(what: &str, finding: &Finding) -> String {
    let what = match finding.access {
        Access::Unknown | Access::Followed => what.to_owned(),
        Access::Read => format!("{what}, a read,"),
        Access::Write => format!("{what}, a write,"),
    };
    let by = thread_apart(finding.thread);
    let Some(block) = finding.block else {
        return format!("{what} at {}{by}", finding.address);
    };
    let released = match (finding.kind, block.released_by) {
        (FindingKind::UseAfterFree, ThreadNumber(number)) if number != 0 => {
            format!(", freed by thread {number}")
        }
        _ => String::new(),
    };
    format!(
        "{what} at {}: {}{released}{by}",
        finding.address,
        relative_to(finding.offset, &block, &sized_at(&block))
    )
}

fn relative_to(offset: i64, block: &BlockFacts, whose: &str) -> String {
    let distance = offset.unsigned_abs();
    let size = size_of(block);
    if offset < 0 {
        format!("{} before {whose}", counted(distance, "byte"))
    } else if distance == 0 {
        format!("the start of {whose}")
    } else if distance < size {
        format!("{} inside {whose}", counted(distance, "byte"))
    } else if distance == size {
        format!("just past the end of {whose}")
    } else {
        format!(
            "{} past the end of {whose}",
            counted(distance - size, "byte")
        )
    }
}

/// A block, and that it is not live any more where that is so.
fn with_state(block: &BlockFacts) -> String {
    match block.state {
        BlockState::Live | BlockState::Forgotten => sized_at(block),
        BlockState::Quarantined | BlockState::Freed => {
            format!(
                "a released {}-byte block at {}",
                size_of(block),
                block.address
            )
        }
    }
}

pub(super) fn sized_at(block: &BlockFacts) -> String {
    let size = size_of(block);
    let article = article(size);
    format!("{article} {size}-byte block at {}", block.address)
}

fn by_thread(thread: ThreadNumber) -> String {
    match thread {
        ThreadNumber(0) => String::new(),
        ThreadNumber(number) => format!(" by thread {number}"),
    }
}

pub(super) fn thread_apart(thread: ThreadNumber) -> String {
    match thread {
        ThreadNumber(0) => String::new(),
        ThreadNumber(number) => format!(", by thread {number}"),
    }
}

fn or_unknown(name: &str) -> &str {
    if name.is_empty() {
        "an unknown function"
    } else {
        name
    }
}

fn size_of(block: &BlockFacts) -> u64 {
    wide(block.size.get())
}

fn wide(number: usize) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures::{
        error as invented, error_at, foreign, native, python, size_overflow,
    };

    fn names() -> Names {
        Names {
            allocate: "operator new[]".to_owned(),
            release: "operator delete[]".to_owned(),
            used_release: "free".to_owned(),
        }
    }

    fn sentence(finding: &Finding) -> String {
        error(finding, &names())
    }

    #[test]
    fn double_free() {
        let mut finding = invented(FindingKind::DoubleFree, 48);
        assert_eq!(
            sentence(&finding),
            "double free of a 48-byte block at 0x7f10 by thread 3, first freed by thread 1"
        );
        finding.block.as_mut().unwrap().released_by = ThreadNumber(0);
        finding.thread = ThreadNumber(0);
        assert_eq!(
            sentence(&finding),
            "double free of a 48-byte block at 0x7f10, first freed by an unknown thread"
        );
        finding.block = None;
        assert_eq!(
            sentence(&finding),
            "double free of 0x7f10; its record is no longer there"
        );
    }

    #[test]
    fn realloc_after_free() {
        assert_eq!(
            sentence(&invented(FindingKind::ReallocAfterFree, 8)),
            "realloc after free of an 8-byte block at 0x7f10 by thread 3, freed by thread 1"
        );
    }

    #[test]
    fn invalid_free_inside_a_block() {
        let mut finding = error_at(FindingKind::InvalidFree, 336, 8);
        finding.place = PointerPlace::Interior;
        assert_eq!(
            sentence(&finding),
            "invalid free of 0x7f18: 8 bytes inside a released 336-byte block at 0x7f10, by \
             thread 3"
        );
        finding.block.as_mut().unwrap().state = BlockState::Live;
        assert_eq!(
            sentence(&finding),
            "invalid free of 0x7f18: 8 bytes inside a 336-byte block at 0x7f10, by thread 3"
        );
    }

    #[test]
    fn invalid_free_elsewhere() {
        let mut finding = invented(FindingKind::InvalidFree, 0);
        finding.block = None;
        finding.thread = ThreadNumber(0);
        for (place, expected) in [
            (
                PointerPlace::Stack,
                "it lies on a thread's stack, not on the heap",
            ),
            (
                PointerPlace::Image,
                "it lies in the code or data of a loaded image, not on the heap",
            ),
            (
                PointerPlace::Unknown,
                "the ledger knows no block there; it may belong to another allocator",
            ),
            (PointerPlace::Unmapped, "no memory is mapped there"),
        ] {
            finding.place = place;
            assert_eq!(
                sentence(&finding),
                format!("invalid free of 0x7f10: {expected}")
            );
        }
    }

    #[test]
    fn mismatched_free() {
        let mut finding = invented(FindingKind::MismatchedFree, 336);
        assert_eq!(
            sentence(&finding),
            "mismatched free: a block of operator new[] released by free instead of \
             operator delete[] (336 bytes at 0x7f10), by thread 3"
        );
        finding.block = None;
        finding.thread = ThreadNumber(0);
        assert_eq!(
            error(&finding, &Names::default()),
            "mismatched free: a block of an unknown function released by an unknown function \
             (0x7f10)"
        );
    }

    #[test]
    fn accesses() {
        assert_eq!(
            sentence(&error_at(FindingKind::UseAfterFree, 48, 4)),
            "use after free at 0x7f14: 4 bytes inside a 48-byte block at 0x7f10, freed by thread 1, \
             by thread 3"
        );
        assert_eq!(
            sentence(&error_at(FindingKind::HeapOverflow, 16, 16)),
            "heap overflow at 0x7f20: just past the end of a 16-byte block at 0x7f10, by thread 3"
        );
        assert_eq!(
            sentence(&error_at(FindingKind::HeapOverflow, 16, 17)),
            "heap overflow at 0x7f21: 1 byte past the end of a 16-byte block at 0x7f10, by thread 3"
        );
        assert_eq!(
            sentence(&error_at(FindingKind::HeapUnderflow, 16, -1)),
            "heap underflow at 0x7f0f: 1 byte before a 16-byte block at 0x7f10, by thread 3"
        );
    }

    #[test]
    fn sizes_and_cut_pointers() {
        assert_eq!(
            sentence(&size_overflow(usize::MAX)),
            "size overflow: 18446744073709551615 bytes requested by thread 3, and no block can be \
             that large"
        );
        assert_eq!(
            sentence(&invented(FindingKind::TruncatedPointer, 48)),
            "truncated pointer: 0x7f10 equals the low 32 bits of the address of a 48-byte block at \
             0x7f10"
        );
    }

    #[test]
    fn a_leak_names_function_and_line() {
        let mut finding = model::Finding {
            blocks: 10,
            bytes: 3360,
            ..model::Finding::default()
        };
        finding.foreign_function = Some(foreign("/opt/libcpp.so", "get_shared_memory"));
        finding.stacks.allocated = vec![
            native("/opt/libcpp.so", "make", 9),
            python("/srv/app.py", 12, "load"),
        ];
        assert_eq!(
            leak(&finding),
            "leak of 10 blocks, 3360 bytes, allocated by libcpp.so get_shared_memory at app.py:12 \
             in load"
        );
    }

    #[test]
    fn places() {
        let stated = Frame::Native {
            library: String::new(),
            function: "make".to_owned(),
            file: "/src/make.c".to_owned(),
            line: 7,
            address: 0,
            build_id: String::new(),
            offset: 0,
            internal: false,
            inlined: false,
        };
        assert_eq!(place(None, &[stated]), "at make.c:7 in make");
        assert_eq!(
            place(None, &[native("/l/libx.so", "make", 1)]),
            "in make (libx.so)"
        );
        assert_eq!(place(None, &[native("/l/libx.so", "", 1)]), "in libx.so");
        let inlined = native("/l/libx.so", "std::vector<int>::reserve", 1);
        assert_eq!(
            place(None, &[inlined.clone(), native("/l/libx.so", "make", 1)]),
            "in make (libx.so)"
        );
        assert_eq!(
            place(None, &[inlined]),
            "in std::vector<int>::reserve (libx.so)"
        );
        assert_eq!(place(None, &[native("", "make", 1)]), "in make");
        assert_eq!(place(None, &[native("", "", 1)]), "at an unknown place");
        assert_eq!(
            place(Some(&foreign("/l/libx.so", "f")), &[]),
            "by libx.so f"
        );
        assert_eq!(place(None, &[python("/a/b.py", 3, "")]), "at b.py:3");
        assert_eq!(place(None, &[]), "at an unknown place");
    }
}
