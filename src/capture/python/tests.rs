//! Stacks of a fake interpreter, read the way every stack is read.

use super::fake::{BY_GENERATOR, BY_THREAD, ENTRY, FakeCode, FakeInterpreter};
use super::*;
use crate::capture::{Capture, EventPlace, Frame, PYTHON_FRAME_COUNT_MAX};
use crate::memory::own_heap::allocation_count;

/// An interpreter in the middle of `depth` calls, each function calling the next from the line
/// after its own first one.
fn calls(fake: &mut FakeInterpreter, depth: usize) -> Vec<FakeCode> {
    let codes: Vec<FakeCode> = (0..depth)
        .map(|level| fake.code("app.py", &format!("level_{level}"), 10))
        .collect();
    for code in &codes {
        fake.push(code, 2, BY_THREAD);
    }
    codes
}

fn capture_of(fake: &FakeInterpreter) -> Capture {
    let capture = Capture::new().expect("pages");
    capture.python.connect_to(&fake.interpreter());
    capture
}

fn functions(capture: &Capture) -> Vec<(String, u32)> {
    let frames = capture.frames(capture.here(EventPlace::UNKNOWN));
    let describe = |frame| match frame {
        Frame::Python { function, line, .. } => (function, line),
        Frame::Native { line, .. } => ("a native frame".to_owned(), line),
    };
    frames.into_iter().map(describe).collect()
}

fn named(function: &str, line: u32) -> (String, u32) {
    (function.to_owned(), line)
}

#[test]
fn frames_are_read_innermost_first() {
    let mut fake = FakeInterpreter::new();
    let _codes = calls(&mut fake, 3);
    let capture = capture_of(&fake);
    let expected = [
        named("level_2", 11),
        named("level_1", 11),
        named("level_0", 11),
    ];
    assert_eq!(functions(&capture), expected);
    assert_eq!(functions(&capture), expected, "from memory");
}

#[test]
fn a_thread_without_frames_has_no_stack() {
    let fake = FakeInterpreter::new();
    let capture = capture_of(&fake);
    assert!(functions(&capture).is_empty());
}

#[test]
fn a_step_of_any_frame_is_another_stack_and_the_step_back_is_the_first_again() {
    let mut fake = FakeInterpreter::new();
    let codes = calls(&mut fake, 5);
    let capture = capture_of(&fake);
    let first = capture.here(EventPlace::UNKNOWN);
    for frame in 0..5 {
        let code = &codes[4 - frame];
        fake.step(frame, code, 4);
        let stepped = capture.here(EventPlace::UNKNOWN);
        assert_ne!(stepped, first);
        assert_eq!(functions(&capture)[frame].1, 12);
        fake.step(frame, code, 2);
        assert_eq!(capture.here(EventPlace::UNKNOWN), first);
    }
}

#[test]
fn calls_and_returns_are_followed() {
    let mut fake = FakeInterpreter::new();
    let codes = calls(&mut fake, 2);
    let capture = capture_of(&fake);
    let outside = capture.here(EventPlace::UNKNOWN);
    for lasti in [2, 4, 2] {
        fake.push(&codes[0], lasti, BY_THREAD);
        assert_eq!(functions(&capture).len(), 3);
        fake.pop();
        assert_eq!(capture.here(EventPlace::UNKNOWN), outside);
    }
}

#[test]
fn entry_frames_and_frames_being_set_up_are_left_out() {
    let mut fake = FakeInterpreter::new();
    let codes = calls(&mut fake, 1);
    fake.push(&codes[0], 2, ENTRY);
    let called = fake.code("app.py", "called", 20);
    fake.push(&called, 0, BY_THREAD);
    let capture = capture_of(&fake);
    assert_eq!(
        functions(&capture),
        [named("level_0", 11)],
        "not at its first instruction yet"
    );
    fake.step(0, &called, 2);
    assert_eq!(
        functions(&capture),
        [named("called", 21), named("level_0", 11)]
    );
    fake.pop();
    fake.push(&called, 0, BY_GENERATOR);
    assert_eq!(
        functions(&capture).len(),
        2,
        "a generator is complete from the start"
    );
}

#[test]
fn deep_stacks_are_cut_and_their_inner_part_is_told_apart() {
    let mut fake = FakeInterpreter::new();
    let codes = calls(&mut fake, PYTHON_FRAME_COUNT_MAX + 5);
    let capture = capture_of(&fake);
    let first = capture.here(EventPlace::UNKNOWN);
    // Asked first: code that another test lets die has the next look read, and cut, the stack again.
    assert_eq!(capture.counters().stack_cut_count, 1);
    assert_eq!(functions(&capture).len(), PYTHON_FRAME_COUNT_MAX);
    let frame = PYTHON_FRAME_COUNT_MAX - 1;
    fake.step(frame, &codes[codes.len() - 1 - frame], 4);
    assert_ne!(
        capture.here(EventPlace::UNKNOWN),
        first,
        "the outermost frame that is kept"
    );
    fake.step(frame, &codes[codes.len() - 1 - frame], 2);
    fake.step(frame + 1, &codes[codes.len() - 2 - frame], 4);
    assert_eq!(
        capture.here(EventPlace::UNKNOWN),
        first,
        "the first frame that is not"
    );
}

#[test]
fn a_stack_already_seen_allocates_nothing() {
    let mut fake = FakeInterpreter::new();
    let codes = calls(&mut fake, 30);
    let capture = capture_of(&fake);
    let capture_both = |fake: &mut FakeInterpreter| {
        for lasti in [2, 4] {
            fake.step(0, &codes[29], lasti);
            assert!(capture.here(EventPlace::UNKNOWN).is_known());
        }
    };
    capture_both(&mut fake);
    // Other tests allocate at the same time on their threads; a run without that comes soon.
    let counts = (0..20_000).map(|_| {
        let before = allocation_count();
        (0..5).for_each(|_| capture_both(&mut fake));
        allocation_count() - before
    });
    assert_eq!(counts.min(), Some(0));
}

#[test]
fn new_code_at_the_address_of_dead_code_is_not_taken_for_it() {
    let mut fake = FakeInterpreter::new();
    let mut code = fake.code("old.py", "old", 10);
    fake.push(&code, 2, BY_THREAD);
    let capture = capture_of(&fake);
    assert_eq!(functions(&capture), [named("old", 11)]);
    fake.interpreter().dealloc_slot.release(code.address());
    code.replace_content(fake.code("new.py", "new", 50));
    assert_eq!(functions(&capture), [named("new", 51)]);
}

#[test]
fn equal_code_made_anew_gives_the_same_stack() {
    let mut fake = FakeInterpreter::new();
    let first_code = fake.code("app.py", "function", 10);
    fake.push(&first_code, 2, BY_THREAD);
    let capture = capture_of(&fake);
    let first = capture.here(EventPlace::UNKNOWN);
    fake.pop();
    let second_code = fake.code("app.py", "function", 10);
    fake.push(&second_code, 2, BY_THREAD);
    assert_eq!(capture.here(EventPlace::UNKNOWN), first);
}

#[test]
fn without_the_hook_nothing_is_remembered_and_everything_is_right() {
    let mut fake = FakeInterpreter::new();
    let mut code = fake.code("old.py", "old", 10);
    fake.push(&code, 2, BY_THREAD);
    let capture = capture_of(&fake);
    assert_eq!(functions(&capture), [named("old", 11)]);
    capture.disconnect_python();
    code.replace_content(fake.code("new.py", "new", 50));
    assert_eq!(
        functions(&capture),
        [named("new", 51)],
        "its death went unseen"
    );
    capture.connect_python();
    assert_eq!(
        functions(&capture),
        [named("new", 51)],
        "nothing survives from before"
    );
}

#[test]
fn a_reader_turned_off_stays_off() {
    let mut fake = FakeInterpreter::new();
    let _codes = calls(&mut fake, 2);
    let capture = capture_of(&fake);
    capture.turn_off_python_reader();
    assert!(functions(&capture).is_empty());
    assert_eq!(capture.connect_python(), PythonStatus::TurnedOff);
    assert!(capture.read_python_frames().is_empty());
}

#[test]
fn frames_of_a_hidden_directory_are_left_out_also_when_seen_before() {
    let mut fake = FakeInterpreter::new();
    let _codes = calls(&mut fake, 1);
    let ours = fake.code("/site/heapledger/blocks.py", "allocate", 5);
    fake.push(&ours, 2, BY_THREAD);
    let capture = capture_of(&fake);
    assert_eq!(functions(&capture).len(), 2);
    capture.hide_python_directory(b"/site/heapledger/");
    assert_eq!(functions(&capture), [named("level_0", 11)]);
    assert_eq!(functions(&capture), [named("level_0", 11)], "from memory");
}

#[test]
fn during_finalisation_only_the_finalising_thread_has_a_stack() {
    let mut fake = FakeInterpreter::new();
    let _codes = calls(&mut fake, 2);
    let capture = capture_of(&fake);
    fake.finalize(true);
    assert_eq!(functions(&capture).len(), 2);
    fake.finalize(false);
    assert!(functions(&capture).is_empty(), "its state may be gone");
}
