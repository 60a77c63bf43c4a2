//! The C interface: the header is fresh, the library exports what the header declares and nothing
//! else, every export stands inside the panic barrier, and layouts are what they were.

mod source;

use heapledger::ffi::HlStatus;
use heapledger::ffi::python::HlSuppliedFrame;
use heapledger::ffi::query::{HlBlockInfo, HlStatistics};
use source::{Token, files_under, read, tokens};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

const HEADER: &str = "include/heapledger.h";

/// The functions of one file: name, and the tokens of the body.
type Bodies = BTreeMap<String, Vec<Token>>;

#[test]
fn the_header_is_fresh() {
    let generated = read(concat!(env!("OUT_DIR"), "/heapledger.h"));
    assert!(
        generated == read(HEADER),
        "{HEADER} does not say what src/ffi says. To repair it:\n\n    cargo build --release\n"
    );
}

#[test]
fn the_library_exports_what_the_header_declares() {
    let exported = exported_symbols();
    assert_eq!(
        exported,
        declared_functions(),
        "exported (left), declared (right)"
    );
}

#[test]
fn the_source_defines_what_the_header_declares() {
    let defined: BTreeSet<String> = exports().into_iter().map(|(_, name, _)| name).collect();
    assert_eq!(
        defined,
        declared_functions(),
        "defined (left), declared (right)"
    );
}

#[test]
fn every_export_stands_inside_the_barrier() {
    let outside: Vec<String> = exports()
        .into_iter()
        .filter(|(file, _, body)| !is_inside_the_barrier(file, body))
        .map(|(file, name, _)| format!("{}: {name}", file.display()))
        .collect();
    assert!(
        outside.is_empty(),
        "these do work outside `barrier`: {outside:#?}"
    );
}

#[test]
fn numbers_are_never_reused() {
    let numbers = [
        (HlStatus::Ok, 0),
        (HlStatus::NullPointer, 1),
        (HlStatus::InvalidArgument, 2),
        (HlStatus::OutOfMemory, 3),
        (HlStatus::NotFound, 4),
        (HlStatus::BufferTooSmall, 5),
        (HlStatus::StructSize, 6),
        (HlStatus::Finding, 7),
        (HlStatus::Io, 8),
        (HlStatus::Unsupported, 9),
        (HlStatus::Limit, 10),
        (HlStatus::Panic, 11),
        (HlStatus::State, 12),
    ];
    for (status, number) in numbers {
        assert_eq!(status as i32, number, "{status:?}");
    }
    let is_status = |line: &&str| line.starts_with("    HL_") && line.contains(" = ");
    let declared = read(HEADER).lines().filter(is_status).count();
    assert_eq!(
        declared,
        numbers.len(),
        "a status was added: give it its number here"
    );
}

#[test]
fn layouts_are_what_they_were() {
    let block: [(usize, usize); 12] = [
        (offset_of!(HlBlockInfo, struct_size), 0),
        (offset_of!(HlBlockInfo, address), 8),
        (offset_of!(HlBlockInfo, size), 16),
        (offset_of!(HlBlockInfo, offset), 24),
        (offset_of!(HlBlockInfo, state), 32),
        (offset_of!(HlBlockInfo, family), 36),
        (offset_of!(HlBlockInfo, allocated_by), 40),
        (offset_of!(HlBlockInfo, released_by), 44),
        (offset_of!(HlBlockInfo, allocated_stack), 48),
        (offset_of!(HlBlockInfo, released_stack), 52),
        (offset_of!(HlBlockInfo, epoch), 56),
        (offset_of!(HlBlockInfo, flags), 60),
    ];
    let statistics: [(usize, usize); 8] = [
        (offset_of!(HlStatistics, struct_size), 0),
        (offset_of!(HlStatistics, live_blocks), 8),
        (offset_of!(HlStatistics, quarantined_bytes), 64),
        (offset_of!(HlStatistics, findings), 72),
        (offset_of!(HlStatistics, ledger_bytes), 152),
        (offset_of!(HlStatistics, dropped_records), 160),
        (offset_of!(HlStatistics, evicted_blocks), 168),
        (offset_of!(HlStatistics, closed_bytes), 192),
    ];
    for (offset, promised) in block.into_iter().chain(statistics) {
        assert_eq!(offset, promised);
    }
    assert_eq!(size_of::<HlBlockInfo>(), 64);
    assert_eq!(size_of::<HlStatistics>(), 200);
    assert_eq!(size_of::<HlSuppliedFrame>(), 24);
}

/// The names `hl_…` that the header declares as functions, each of them once.
fn declared_functions() -> BTreeSet<String> {
    let header = read(HEADER);
    let declarations = header.split("#if !defined(HEAPLEDGER_NO_LOCATIONS)").next();
    let tokens = tokens(declarations.unwrap_or_default());
    let is_called = |pair: &[Token]| pair[0].text.starts_with("hl_") && pair[1].text == "(";
    let mut names = BTreeSet::new();
    for pair in tokens.windows(2).filter(|pair| is_called(pair)) {
        let name = &pair[0].text;
        assert!(names.insert(name.clone()), "{name} is declared twice");
    }
    names
}

/// The dynamic symbols of the shared object that was built together with this test.
fn exported_symbols() -> BTreeSet<String> {
    let test = std::env::current_exe().expect("a running program has a file");
    let library = test.with_file_name("libheapledger.so");
    let listed = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(&library)
        .output();
    let listed = listed.expect("nm, which comes with the linker, can be run");
    let text = String::from_utf8(listed.stdout).expect("names are ASCII");
    text.lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .map(str::to_owned)
        .collect()
}

/// Every export of `src/ffi`: its file, its name, and the tokens of its body.
fn exports() -> Vec<(PathBuf, String, Vec<Token>)> {
    let mut found = Vec::new();
    for file in files_under("src/ffi", "rs") {
        let bodies = function_bodies(&tokens(&read(&file)));
        let exported = bodies
            .into_iter()
            .filter(|(name, _)| name.starts_with("hl_"));
        found.extend(exported.map(|(name, body)| (file.clone(), name, body)));
    }
    found
}

/// The bodies of all functions, by name.
fn function_bodies(tokens: &[Token]) -> Bodies {
    let mut bodies = Bodies::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        if pair[0].text != "fn" {
            continue;
        }
        let rest = &tokens[index + 2..];
        let Some(open) = rest.iter().position(|token| token.text == "{") else {
            continue;
        };
        let length = length_to_the_closing(&rest[open..], "{", "}");
        bodies.insert(
            pair[1].text.clone(),
            rest[open + 1..open + length - 1].to_vec(),
        );
    }
    bodies
}

/// How many tokens there are from an opening bracket to the one that closes it.
fn length_to_the_closing(tokens: &[Token], open: &str, close: &str) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        if token.text == open {
            depth += 1;
        } else if token.text == close {
            depth -= 1;
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// The barrier itself, and `respond`, which is the barrier for exports that answer with a status.
fn is_barrier(name: &str) -> bool {
    matches!(name, "barrier" | "respond")
}

/// Whether an export is one call of `barrier`, or a jump to a function that works inside it.
fn is_inside_the_barrier(file: &Path, body: &[Token]) -> bool {
    if body
        .first()
        .is_none_or(|first| first.text != "jump_with_caller")
    {
        return is_one_call_of_barrier(body);
    }
    let bodies = function_bodies(&tokens(&read(file)));
    let inner = body
        .iter()
        .rev()
        .find(|token| bodies.contains_key(&token.text));
    inner.is_some_and(|inner| reaches_barrier(&inner.text, &bodies))
}

/// Whether a body is `barrier(…)` to its last token (but for a semicolon), with nothing in front
/// but bindings that call nothing.
fn is_one_call_of_barrier(body: &[Token]) -> bool {
    let end = body.len() - usize::from(body.last().is_some_and(|last| last.text == ";"));
    let Some(start) = body.iter().position(|token| is_barrier(&token.text)) else {
        return false;
    };
    let calls_nothing = body[..start].iter().all(|token| token.text != "(");
    calls_nothing && start + 1 + length_to_the_closing(&body[start + 1..], "(", ")") == end
}

/// Whether a function calls `barrier`, itself or through functions of the same file.
fn reaches_barrier(name: &str, bodies: &Bodies) -> bool {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![name];
    while let Some(name) = waiting.pop() {
        let called = bodies
            .get(name)
            .into_iter()
            .flatten()
            .map(|token| token.text.as_str());
        if called.clone().any(is_barrier) {
            return true;
        }
        if seen.insert(name) {
            waiting.extend(called);
        }
    }
    false
}
