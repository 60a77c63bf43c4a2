//! Invented findings and stacks, for the tests of this folder.

use super::model::{ForeignFunction, Frame};
use super::translate::Resolver;
use crate::detect::{BlockFacts, Finding, FindingKind, PointerPlace};
use crate::ledger::{BlockState, FamilyId, StackId, ThreadNumber};
use crate::memory::{Address, ByteCount};

/// A Python frame.
pub(super) fn python(file: &str, line: u32, function: &str) -> Frame {
    Frame::Python {
        file: file.to_owned(),
        line,
        function: function.to_owned(),
    }
}

/// A native frame without a source line.
pub(super) fn native(library: &str, function: &str, address: u64) -> Frame {
    Frame::Native {
        library: library.to_owned(),
        function: function.to_owned(),
        file: String::new(),
        line: 0,
        address,
        build_id: String::new(),
        offset: 0,
        internal: false,
        inlined: false,
    }
}

/// A foreign function.
pub(super) fn foreign(library: &str, name: &str) -> ForeignFunction {
    ForeignFunction {
        library: library.to_owned(),
        name: name.to_owned(),
    }
}

/// A block of `size` bytes at 0x7f10, allocated on thread 1 at stack 1, released there at stack 2.
pub(super) fn block(size: usize) -> BlockFacts {
    BlockFacts {
        address: Address::new(0x7f10),
        size: ByteCount::new(size),
        state: BlockState::Quarantined,
        family: FamilyId::NEW_ARRAY,
        allocated_by: ThreadNumber(1),
        released_by: ThreadNumber(1),
        allocated: StackId(1),
        released: StackId(2),
        handed_to_python: false,
    }
}

/// An error about [`block`], detected on thread 3 at stack 3.
pub(super) fn error(kind: FindingKind, size: usize) -> Finding {
    Finding {
        kind,
        address: Address::new(0x7f10),
        place: PointerPlace::Block,
        block: Some(block(size)),
        offset: 0,
        used_family: FamilyId::MALLOC,
        requested: ByteCount::new(0),
        here: StackId(3),
        thread: ThreadNumber(3),
        access: crate::detect::finding::Access::Unknown,
        views: None,
        written: None,
        next: None,
        holding: crate::detect::reach::Holding::Unknown,
        count: 1,
        bytes: size as u64,
        blocks: 1,
        sequence: 1,
    }
}

/// An error about the byte `offset` bytes after the start of [`block`].
pub(super) fn error_at(kind: FindingKind, size: usize, offset: i64) -> Finding {
    let start = Address::new(0x7f10).get();
    let address = Address::new(start.wrapping_add_signed(isize::try_from(offset).unwrap()));
    Finding {
        address,
        offset,
        ..error(kind, size)
    }
}

/// A leak of ten blocks of 336 bytes.
pub(super) fn leak() -> Finding {
    let mut live = block(336);
    live.state = BlockState::Live;
    live.released = StackId::UNKNOWN;
    live.released_by = ThreadNumber(0);
    Finding {
        block: Some(live),
        here: StackId::UNKNOWN,
        thread: ThreadNumber(0),
        count: 10,
        blocks: 10,
        bytes: 3360,
        sequence: 0,
        ..error(FindingKind::Leak, 336)
    }
}

/// A request for `size` bytes that was refused.
pub(super) fn size_overflow(size: usize) -> Finding {
    Finding {
        block: None,
        requested: ByteCount::new(size),
        ..error(FindingKind::SizeOverflow, 0)
    }
}

/// Three stacks of one small program, and the usual family names.
#[derive(Debug, Default)]
pub(super) struct Program;

impl Resolver for Program {
    fn frames(&self, stack: StackId) -> Vec<Frame> {
        let top = match stack.0 {
            1 => vec![
                native("/opt/libcpp.so", "get_shared_memory", 0x1000),
                python("/srv/app.py", 12, "load"),
            ],
            2 => vec![python("/srv/app.py", 20, "Dataset.close")],
            3 => vec![python("/srv/app.py", 24, "Dataset.__del__")],
            number if number > 100 => vec![python("/srv/app.py", number, "many")],
            _ => return Vec::new(),
        };
        top.into_iter()
            .chain([python("/srv/app.py", 40, "main")])
            .collect()
    }

    fn foreign_function(&self, stack: StackId) -> Option<ForeignFunction> {
        (stack.0 == 1).then(|| foreign("/opt/libcpp.so", "get_shared_memory"))
    }

    fn family_name(&self, family: FamilyId) -> String {
        match family {
            FamilyId::NEW_ARRAY => "new[]",
            _ => "malloc",
        }
        .to_owned()
    }

    fn allocate_name(&self, family: FamilyId) -> String {
        match family {
            FamilyId::NEW_ARRAY => "operator new[]",
            _ => "malloc",
        }
        .to_owned()
    }

    fn release_name(&self, family: FamilyId) -> String {
        match family {
            FamilyId::NEW_ARRAY => "operator delete[]",
            _ => "free",
        }
        .to_owned()
    }
}
