//! Reports with any content, for property tests.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::model::{
    Block, Finding, ForeignFunction, Frame, Limits, Options, Process, Report, Stacks, Stats,
    SuppressionUse,
};

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let python =
        (any::<String>(), any::<u32>(), any::<String>()).prop_map(|(file, line, function)| {
            Frame::Python {
                file,
                line,
                function,
            }
        });
    let native = (
        any::<String>(),
        any::<String>(),
        any::<String>(),
        any::<u32>(),
        any::<u64>(),
        (any::<String>(), any::<u64>(), any::<[bool; 2]>()),
    )
        .prop_map(
            |(library, function, file, line, address, (build_id, offset, [internal, inlined]))| {
                Frame::Native {
                    library,
                    function,
                    file,
                    line,
                    address,
                    build_id,
                    offset,
                    internal,
                    inlined,
                }
            },
        );
    vec(prop_oneof![python, native], 0..3)
}

fn block() -> impl Strategy<Value = Block> {
    let fields = (
        any::<u64>(),
        any::<u64>(),
        any::<String>(),
        any::<i64>(),
        any::<String>(),
    );
    fields.prop_map(|(address, size, state, offset, contents)| Block {
        address,
        size,
        state,
        offset,
        contents,
    })
}

fn finding() -> impl Strategy<Value = Finding> {
    let text = (
        any::<String>(),
        any::<String>(),
        any::<String>(),
        vec(any::<String>(), 0..3),
    );
    let numbers = (
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        option::of(any::<u64>()),
    );
    let foreign = (any::<String>(), any::<String>())
        .prop_map(|(library, name)| ForeignFunction { library, name });
    let known = (
        option::of(block()),
        option::of(foreign),
        any::<String>(),
        more(),
    );
    let stacks = (frames(), frames(), frames()).prop_map(|(allocated, released, here)| Stacks {
        allocated,
        released,
        here,
        viewed: Vec::new(),
    });
    (text, numbers, known, stacks, any::<bool>(), any::<bool>()).prop_map(
        |(text, numbers, known, stacks, suppressed, handed_to_python)| Finding {
            kind: text.0,
            message: text.1,
            count: numbers.0,
            bytes: numbers.1,
            blocks: numbers.2,
            family: known.2,
            fingerprint: text.2,
            suppressed,
            block: known.0,
            foreign_function: known.1,
            handed_to_python,
            kept_by: None,
            indirect: false,
            part_of: None,
            damage: None,
            hints: text.3,
            stacks,
            growth: numbers.3,
            more: known.3,
        },
    )
}

/// What a newer edition may add; the letter keeps its names apart from the known ones.
fn more() -> impl Strategy<Value = BTreeMap<String, serde_json::Value>> {
    let value = prop_oneof![
        any::<u64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into)
    ];
    btree_map("X[a-z]{0,8}", value, 0..3)
}

fn process() -> impl Strategy<Value = Process> {
    let texts = (vec(any::<String>(), 0..3), option::of(any::<String>()));
    // Eighths of a second, because not every decimal fraction is read back to the last bit.
    (any::<u32>(), texts, any::<u16>(), more()).prop_map(|(pid, (argv, python), eighths, more)| {
        Process {
            pid,
            argv,
            python,
            platform: "linux".to_owned(),
            started: "2026-01-31T12:00:00Z".to_owned(),
            duration_s: f64::from(eighths) / 8.0,
            killed_by: None,
            crash: None,
            more,
        }
    })
}

fn options() -> impl Strategy<Value = Options> {
    (any::<String>(), vec(any::<String>(), 0..3), more()).prop_map(|(scope, checks, more)| {
        Options {
            scope,
            checks,
            native_stacks: String::new(),
            more,
        }
    })
}

fn stats() -> impl Strategy<Value = Stats> {
    (
        any::<u64>(),
        btree_map(any::<String>(), any::<u64>(), 0..3),
        more(),
    )
        .prop_map(|(live_blocks, findings, more)| Stats {
            live_blocks,
            findings,
            more,
            ..Stats::default()
        })
}

fn limits() -> impl Strategy<Value = Limits> {
    (any::<u64>(), vec(any::<String>(), 0..3), more()).prop_map(|(stack_cut_count, texts, more)| {
        let used = |rule: &String| SuppressionUse {
            rule: rule.clone(),
            ..Default::default()
        };
        Limits {
            stack_cut_count,
            suppressions_used: texts.iter().map(used).collect(),
            suppressions_unused: texts.clone(),
            troubles: texts,
            more,
            ..Limits::default()
        }
    })
}

/// A report, sometimes with a child.
pub(super) fn report() -> impl Strategy<Value = Report> {
    let rest = (option::of(any::<String>()), more(), any::<bool>());
    (
        process(),
        options(),
        stats(),
        limits(),
        vec(finding(), 0..3),
        rest,
    )
        .prop_map(
            |(process, options, stats, limits, findings, (missing, more, has_child))| Report {
                process,
                options,
                stats,
                limits,
                findings,
                children: if has_child {
                    vec![Report::default()]
                } else {
                    Vec::new()
                },
                missing,
                more,
                ..Report::default()
            },
        )
}
