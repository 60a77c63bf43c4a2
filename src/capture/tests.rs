//! Capture without an interpreter in the process.

use super::*;
use crate::memory::FrameAddress;
use crate::memory::own_heap::allocation_count;

fn capture() -> Capture {
    Capture::new().expect("pages")
}

fn at_location(location: LocationId) -> EventPlace {
    EventPlace {
        location,
        ..EventPlace::UNKNOWN
    }
}

#[test]
fn nothing_known_is_the_unknown_stack() {
    let capture = capture();
    assert_eq!(capture.here(EventPlace::UNKNOWN), StackId::UNKNOWN);
    assert_eq!(capture.here(EventPlace::UNKNOWN), StackId::UNKNOWN);
    assert!(capture.frames(StackId::UNKNOWN).is_empty());
    assert!(
        capture.frames(StackId(12_345)).is_empty(),
        "a number nobody gave out"
    );
    assert_eq!(capture.python_status(), PythonStatus::NotPython);
    assert!(capture.read_python_frames().is_empty());
}

#[test]
fn a_location_stands_in_front_of_the_caller() {
    let capture = capture();
    let location = capture.intern_location(b"app.c", 12, b"main");
    let stack = capture.here(at_location(location));
    let expected = Frame::Native {
        library: String::new(),
        function: "main".into(),
        file: "app.c".into(),
        line: 12,
        address: 0,
        build_id: String::new(),
        offset: 0,
        is_internal: false,
        is_inlined: false,
    };
    assert_eq!(capture.frames(stack), [expected]);
    let caller = FrameAddress::from_return_address(0x1000);
    let both = EventPlace {
        caller,
        ..at_location(location)
    };
    assert_eq!(capture.here(both), stack);
    assert_ne!(
        capture.here(EventPlace {
            caller,
            ..EventPlace::UNKNOWN
        }),
        stack
    );
}

#[test]
fn a_location_and_an_address_of_the_same_number_are_different_stacks() {
    let capture = capture();
    let location = capture.intern_location(b"app.c", 12, b"main");
    let number = location.site().0 as usize;
    let caller = FrameAddress::from_return_address(number);
    let by_address = capture.here(EventPlace {
        caller,
        ..EventPlace::UNKNOWN
    });
    assert_ne!(capture.here(at_location(location)), by_address);
}

#[test]
fn a_stack_already_seen_allocates_nothing() {
    let capture = capture();
    let location = capture.intern_location(b"app.c", 12, b"main");
    let first = capture.here(at_location(location));
    let before = allocation_count_of_this_thread_alone(|| {
        for _ in 0..1_000 {
            let location = capture.intern_location(b"app.c", 12, b"main");
            assert_eq!(capture.here(at_location(location)), first);
        }
    });
    assert_eq!(before, 0);
}

/// Other tests allocate at the same time on their threads; a run without any of that comes soon.
fn allocation_count_of_this_thread_alone(work: impl Fn()) -> u64 {
    let counts = (0..1_000).map(|_| {
        let before = allocation_count();
        work();
        allocation_count() - before
    });
    counts.min().unwrap_or(u64::MAX)
}

#[test]
fn a_supplied_stack_takes_the_place_of_the_python_stack_while_the_reader_is_off() {
    let capture = capture();
    let frames = [
        SuppliedFrame {
            file: b"inner.py",
            line: 3,
            function: b"Inner.run",
        },
        SuppliedFrame {
            file: b"outer.py",
            line: 9,
            function: b"<module>",
        },
    ];
    let supplied = capture.supply_stack(&frames);
    assert_eq!(capture.supply_stack(&frames), supplied);
    capture.set_supplied(supplied);
    let location = capture.intern_location(b"app.c", 12, b"main");
    let here = capture.frames(capture.here(at_location(location)));
    capture.set_supplied(StackId::UNKNOWN);
    let python = |file: &str, line, function: &str| Frame::Python {
        file: file.into(),
        line,
        function: function.into(),
    };
    assert_eq!(here.len(), 3);
    assert_eq!(
        here[1..],
        [
            python("inner.py", 3, "Inner.run"),
            python("outer.py", 9, "<module>")
        ]
    );
    assert_eq!(
        capture.frames(capture.here(at_location(location))).len(),
        1,
        "no longer supplied"
    );
}

#[test]
fn frames_of_a_hidden_directory_are_left_out() {
    let capture = capture();
    capture.hide_python_directory(b"/site/heapledger/");
    capture.hide_python_directory(b"");
    let frames = [
        SuppliedFrame {
            file: b"/site/heapledger/blocks.py",
            line: 3,
            function: b"allocate",
        },
        SuppliedFrame {
            file: b"/site/app.py",
            line: 9,
            function: b"main",
        },
    ];
    let kept = capture.frames(capture.supply_stack(&frames));
    assert_eq!(kept.len(), 1);
    assert!(matches!(&kept[0], Frame::Python { file, .. } if file == "/site/app.py"));
}

#[test]
fn a_stack_with_too_many_frames_is_cut_and_counted() {
    let capture = capture();
    let frame = SuppliedFrame {
        file: b"deep.py",
        line: 1,
        function: b"deep",
    };
    let stack = capture.supply_stack(&[frame; PYTHON_FRAME_COUNT_MAX + 1]);
    assert_eq!(capture.frames(stack).len(), PYTHON_FRAME_COUNT_MAX);
    assert_eq!(capture.counters().stack_cut_count, 1);
}

#[test]
fn the_foreign_function_is_part_of_the_stack() {
    let capture = capture();
    let function = Address::new(0x2000);
    let id = capture.learn_foreign_function(function, b"libshared.so", b"get_shared_memory");
    assert_eq!(capture.foreign_function_at(function), id);
    let here = 0_u8;
    let stack_pointer = Address::of(&raw const here).offset_by(64 << 10);
    let outer = foreign::enter(id, stack_pointer, foreign::ThreadState::UNKNOWN);
    let stack = capture.here(EventPlace::UNKNOWN);
    foreign::leave(outer);
    let named = capture
        .foreign_function(stack)
        .expect("captured in a foreign call");
    assert_eq!(named.library, "libshared.so");
    assert_eq!(named.name, "get_shared_memory");
    assert!(capture.frames(stack).is_empty());
    assert_eq!(
        capture.here(EventPlace::UNKNOWN),
        StackId::UNKNOWN,
        "after the call"
    );
}

#[test]
fn a_full_stack_table_is_counted_once_for_each_stack_and_answers_unknown() {
    let capture = capture();
    let stack_of = |line| {
        let location = capture.intern_location(b"app.c", line, b"main");
        capture.here(at_location(location))
    };
    let known = (1..=150).filter(|&line| stack_of(line).is_known()).count();
    assert_eq!(known, 100);
    assert_eq!(stack_of(150), StackId::UNKNOWN);
    assert_eq!(capture.counters().stack_dropped_count, 50);
}
