//! What the text looks like, word for word.

use proptest::prelude::*;

use super::*;
use crate::detect::{FindingKind, PointerPlace};
use crate::ledger::StackId;
use crate::report::fixtures::{Program, error, error_at, leak, native, python};
use crate::report::model::{Finding, SuppressionUse};
use crate::report::strategies;
use crate::report::translate::findings_to_model;

fn report(findings: &[crate::detect::Finding]) -> Report {
    Report {
        findings: findings_to_model(findings, &Program),
        ..Report::default()
    }
}

fn text(report: &Report) -> String {
    render(report, TextOptions::default())
}

#[test]
fn nothing_found() {
    assert_eq!(text(&Report::default()), "heapledger: no findings\n");
}

#[test]
fn parts_of_a_leaked_structure_are_told_in_short() {
    let mut report = report(&[leak()]);
    let part = Finding {
        kind: "leak".to_owned(),
        message: "leak of a part".to_owned(),
        blocks: 1,
        indirect: true,
        hints: vec!["only another block".to_owned()],
        ..Finding::default()
    };
    let parts = vec![part; PART_COUNT_MAX + 2];
    report.findings.extend(parts.iter().cloned());
    let shown = text(&report);
    let end = "\n\nonly blocks of the leaks above refer to these, in short:\n2. leak of a part\n";
    assert!(shown.contains(end), "{shown}");
    assert!(shown.contains("11. leak of a part\n... 2 further findings; the JSON report has all"));
    assert!(!shown.contains("hint: only another block"), "{shown}");
    // Where the beginning is not shown, as in a circle, each is shown as it is.
    report.findings = parts;
    assert!(text(&report).contains("12. leak of a part\n   hint: only another block"));
}

#[test]
fn parts_of_a_doubly_released_object_are_told_in_short() {
    let part = |name: &str, part_of: Option<&str>| Finding {
        kind: "double-free".to_owned(),
        message: format!("double free of {name}"),
        fingerprint: name.to_owned(),
        part_of: part_of.map(str::to_owned),
        hints: vec![format!("all of {name}")],
        ..Finding::default()
    };
    let mut report = Report {
        findings: vec![
            part("a", Some("object")),
            part("object", None),
            part("b", Some("object")),
            part("other", Some("hidden")),
        ],
        ..Report::default()
    };
    let shown = text(&report);
    let parts = format!("\n\n{SAME_CALLS}\n1. double free of a\n3. double free of b\n\n4. ");
    assert!(shown.contains(&parts), "{shown}");
    assert!(shown.starts_with("heapledger: 4 double frees\n\n2. double free of object\n"));
    assert!(shown.contains("hint: all of other"), "{shown}");
    assert!(!shown.contains("hint: all of a\n"), "{shown}");
    report.findings.remove(1);
    assert!(
        text(&report).contains("hint: all of a\n"),
        "what it is part of is not shown"
    );
}

#[test]
fn contents_are_shown_as_bytes_and_as_letters() {
    let mut report = report(&[leak()]);
    assert!(!text(&report).contains("it begins with"));
    block_of(&mut report).contents = "6c6f73741b5b33316d00ff".to_owned();
    let line = "\n   it begins with 6c 6f 73 74 1b 5b 33 31 6d 00 ff  |lost.[31m..|\n";
    assert!(text(&report).contains(line), "{}", text(&report));
    // A report that somebody else wrote may say anything.
    block_of(&mut report).contents = "\u{1b}é".to_owned();
    assert!(!text(&report).contains('\u{1b}'));
}

fn block_of(report: &mut Report) -> &mut crate::report::model::Block {
    let finding = report.findings.first_mut().expect("a leak");
    finding.block.as_mut().expect("its block")
}

#[test]
fn a_double_free_and_a_leak() {
    let mut report = report(&[leak(), error(FindingKind::DoubleFree, 48)]);
    report.process = Process {
        pid: 4711,
        argv: vec!["/srv/app.py".to_owned(), "--fast".to_owned()],
        python: Some("3.13.1".to_owned()),
        duration_s: 2.54,
        ..Process::default()
    };
    let expected = "\
heapledger: 1 leak (10 blocks, 3,360 bytes), 1 double free
  process 4711: app.py --fast, Python 3.13.1, 2.5 s

1. double free of a 48-byte block at 0x7f10 by thread 3, first freed by thread 1
   hint: released again during garbage collection, in Dataset.__del__
   now:
     /srv/app.py:24 in Dataset.__del__
     /srv/app.py:40 in main
   released:
     /srv/app.py:20 in Dataset.close
     /srv/app.py:40 in main
   allocated by libcpp.so get_shared_memory:
     /srv/app.py:12 in load
     /srv/app.py:40 in main
     native get_shared_memory (libcpp.so)

2. leak of 10 blocks, 3360 bytes, allocated by libcpp.so get_shared_memory at app.py:12 in load
   for example a 336-byte block at 0x7f10, family new[]
   libcpp.so get_shared_memory was not seen to hand it to Python
   allocated by libcpp.so get_shared_memory:
     /srv/app.py:12 in load
     /srv/app.py:40 in main
     native get_shared_memory (libcpp.so)
";
    assert_eq!(text(&report), expected);
}

#[test]
fn what_a_library_keeps_comes_last_and_is_no_finding() {
    let kept = Finding {
        kept_by: Some("/opt/libcpp.so".to_owned()),
        fingerprint: "other".to_owned(),
        bytes: 9_000,
        ..report(&[leak()]).findings.remove(0)
    };
    let mut report = report(&[leak()]);
    report.findings.insert(0, kept);
    let text = text(&report);
    let first = text.lines().next().unwrap();
    assert_eq!(
        first,
        "heapledger: 1 leak (10 blocks, 3,360 bytes); 10 blocks (9,000 bytes) kept by libraries"
    );
    assert!(text.contains("1. leak of 10 blocks"));
    assert!(text.contains("it is its own"));
    report.findings.retain(Finding::is_kept);
    let only = super::render(&report, TextOptions::default());
    assert!(only.starts_with("heapledger: no findings; 10 blocks (9,000 bytes) kept by libraries"));
}

#[test]
fn a_command_line_is_cut_between_words() {
    let words = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        command(&words(&["/usr/bin/python3", "/srv/app.py", "-v"])),
        "python3 /srv/app.py -v"
    );
    let long = "x".repeat(COMMAND_LENGTH_MAX);
    assert_eq!(
        command(&words(&["python3", "-c", &long, "end"])),
        "python3 -c ..."
    );
    assert_eq!(command(&[]), "");
}

#[test]
fn an_unknown_place_is_called_so() {
    let mut finding = error(FindingKind::InvalidFree, 0);
    finding.block = None;
    finding.place = PointerPlace::Stack;
    finding.here = StackId::UNKNOWN;
    finding.count = 3;
    let expected = "\
heapledger: 1 invalid free (3 times)

1. invalid free of 0x7f10: it lies on a thread's stack, not on the heap, by thread 3
   3 times; the first is shown
   now:
     (not known)
";
    assert_eq!(text(&report(&[finding])), expected);
}

#[test]
fn plurals_follow_the_kind() {
    let mut findings = Vec::new();
    for (place, kind) in (101..).zip(FindingKind::ALL.into_iter().skip(1)) {
        for place in [place, place + 100] {
            findings.push(crate::detect::Finding {
                here: StackId(place),
                ..error_at(kind, 8, 0)
            });
        }
    }
    let text = text(&report(&findings));
    let first = text.lines().next().unwrap();
    assert_eq!(
        first,
        "heapledger: 2 double frees, 2 invalid frees, 2 mismatched frees, 2 uses after free, \
         2 heap overflows, 2 heap underflows, 2 reallocs after free, 2 size overflows, \
         2 truncated pointers"
    );
    assert_eq!(
        text.lines().last(),
        Some(first),
        "a long report ends with its summary"
    );
}

#[test]
fn the_line_of_the_innermost_python_frame_is_quoted() {
    let path = std::env::temp_dir().join(format!("heapledger-text-{}.py", std::process::id()));
    std::fs::write(
        &path,
        "import x\n\n    pointer = lib.get(42)\t# \u{1b}[31m\n",
    )
    .unwrap();
    let file = path.display().to_string();
    let mut report = report(&[leak()]);
    let stack = vec![
        native("l.so", "get", 1),
        python(&file, 3, "f"),
        python(&file, 1, "g"),
    ];
    report.findings[0].stacks.allocated = stack;
    let quoted = format!(
        "     {file}:3 in f\n         pointer = lib.get(42)\\t# \\u{{1b}}[31m\n     {file}:1 in g\n"
    );
    assert!(text(&report).contains(&quoted), "{}", text(&report));
    let plain = TextOptions {
        quote_source: false,
        ..TextOptions::default()
    };
    assert!(!render(&report, plain).contains("lib.get"));
    // A file that changed after the report was written is no witness.
    report.process.started = "2001-01-01T00:00:00Z".to_owned();
    assert!(!text(&report).contains("lib.get"));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn long_stacks_and_long_reports_are_counted() {
    let mut report = report(&[leak()]);
    let mut stack: Vec<_> = (1..=20).map(|line| python("<string>", line, "f")).collect();
    stack.push(native("/l/a.so", "", 0xabc));
    report.findings[0].stacks.allocated = stack;
    let second = Finding {
        fingerprint: "b".to_owned(),
        ..report.findings[0].clone()
    };
    report.findings.push(second);
    let options = TextOptions {
        finding_count_max: 1,
        frame_count_max: 2,
        ..TextOptions::default()
    };
    let text = render(&report, options);
    let expected = "     <string>:1 in f\n     <string>:2 in f\n     ... 18 further Python frames\n     \
                    native 0xabc (a.so)\n\nnote: 1 further finding not shown here; the JSON report \
                    has all\n";
    assert!(text.ends_with(expected), "{text}");
    assert!(text.starts_with("heapledger: 2 leaks (20 blocks, 6,720 bytes)\n"));
}

#[test]
fn what_was_cut_dropped_and_hidden_is_noted() {
    let mut report = report(&[leak()]);
    report.findings[0].suppressed = true;
    report.limits.stack_cut_count = 12;
    report.limits.stack_frame_max = 64;
    report.limits.record_dropped_count = 1;
    report.limits.finding_dropped_count = 2000;
    report
        .limits
        .more
        .insert("site_dropped_count".to_owned(), 3.into());
    report
        .limits
        .more
        .insert("text_cut_count".to_owned(), 0.into());
    report
        .limits
        .troubles
        .push("the Python reader is off".to_owned());
    report.limits.suppressions_used.push(SuppressionUse {
        rule: "leak:get_* (s:1)".to_owned(),
        findings: 1,
        blocks: 10,
        bytes: 3360,
    });
    report
        .limits
        .suppressions_unused
        .push("leak:put (s:2)".to_owned());
    let expected = "\
heapledger: no findings (1 suppressed)

note: 1 allocation served without a record: leaks may be missed
note: 2,000 findings for which there was no room
note: site dropped count: 3
note: the Python reader is off
note: 1 finding (10 blocks, 3,360 bytes) suppressed by leak:get_* (s:1)
note: unused suppression: leak:put (s:2)
";
    assert_eq!(text(&report), expected);
    report.findings[0].suppressed = false;
    assert!(text(&report).contains("note: 12 stacks cut at 64 Python frames\n"));
}

#[test]
fn growth_and_ownership_are_facts_of_a_leak() {
    let mut report = report(&[leak()]);
    report.findings[0].growth = Some(4);
    report.findings[0].handed_to_python = true;
    let expected = "   grew by 4 blocks between the measurements
   for example a 336-byte block at 0x7f10, family new[]
   libcpp.so get_shared_memory handed it to Python, which did not release it\n";
    assert!(text(&report).contains(expected), "{}", text(&report));
}

#[test]
fn several_processes_are_one_text() {
    let of = |pid| {
        let mut report = report(&[leak()]);
        report.process.pid = pid;
        report
            .limits
            .suppressions_unused
            .push("leak:zzz (s:1)".to_owned());
        report
    };
    let mut parent = of(10);
    parent.children.push(of(11));
    let mut killed = Report {
        missing: Some("killed by signal 9".to_owned()),
        ..Report::default()
    };
    killed.process.pid = 12;
    let text = render_many(&[parent, killed], TextOptions::default());
    let head = "\
heapledger: 1 leak (20 blocks, 6,720 bytes), in 3 processes
  process 10
  process 11
  process 12

1. leak of 20 blocks, 6720 bytes, allocated by libcpp.so get_shared_memory at app.py:12 in load
";
    assert!(text.starts_with(head), "{text}");
    assert!(
        text.contains("   in processes 10, 11; shown as process 10 saw it\n"),
        "{text}"
    );
    let tail = "\nnote: no report of process 12: killed by signal 9\n\
                note: unused suppression: leak:zzz (s:1)\n";
    assert!(text.ends_with(tail), "{text}");
}

#[test]
fn colours_only_when_asked_for() {
    let report = report(&[leak()]);
    assert!(!text(&report).contains('\u{1b}'));
    let coloured = render(
        &report,
        TextOptions {
            color: true,
            ..TextOptions::default()
        },
    );
    assert!(coloured.contains("\u{1b}[1;31m1. leak of 10 blocks"));
}

#[test]
fn a_hand_made_report_is_shown_as_well_as_it_can() {
    let json = br#"{"schema":"heapledger.report","version":1,"process":{"duration_s":1e300},
        "findings":[{"kind":"evil\u001b[2J-kind","count":2,"family":"x\ny",
          "foreign_function":{},"stacks":{"here":[{"language":"native"},{"language":"python"}]}}]}"#;
    let report = crate::report::json::read(json).unwrap();
    let expected = "\
heapledger: 1 evil\\u{1b}[2J kind (2 times)

1. evil\\u{1b}[2J-kind
   2 times; the first is shown
   now:
     unknown file
     native unknown function
";
    assert_eq!(text(&report), expected);
}

#[test]
fn a_place_where_damage_was_noticed_by_chance_is_not_shown_as_the_culprit() {
    let mut report = report(&[error_at(FindingKind::HeapOverflow, 48, 48)]);
    let mut heading_for = |event: &str| {
        let finding = report.findings.first_mut().unwrap();
        let damage = finding.damage.get_or_insert_default();
        event.clone_into(&mut damage.before.event);
        let shown = text(&report);
        let is_heading = |line: &&str| ["now:", "noticed:"].contains(&line.trim());
        shown
            .lines()
            .find(is_heading)
            .map(|line| line.trim().to_owned())
    };
    for event in ["release", "resize", "check", "end"] {
        assert_eq!(heading_for(event).as_deref(), Some("noticed:"), "{event}");
    }
    for event in ["eviction", "neighbour"] {
        assert_eq!(heading_for(event), None, "{event}");
    }
    report.findings.first_mut().unwrap().damage = None;
    assert!(text(&report).contains("   now:\n"));
}

#[test]
fn a_crash_comes_first_and_leaks_of_its_process_in_short() {
    let mut report = report(&[leak()]);
    let kept = Finding {
        kept_by: Some("/opt/libcpp.so".to_owned()),
        ..report.findings.first().unwrap().clone()
    };
    report.findings.push(kept);
    report.process.pid = 7;
    report.process.killed_by = Some("SIGSEGV".to_owned());
    report.process.crash = Some(crate::report::model::Crash {
        stack: vec![python("/srv/app.py", 3, "main")],
        ..Default::default()
    });
    let shown = text(&report);
    let crash = shown
        .find("process 7 died of SIGSEGV:\n   /srv/app.py:3 in main\n")
        .unwrap();
    let leaks = shown
        .find("what was still in use when the process died counts")
        .unwrap();
    assert!(crash < leaks, "{shown}");
    assert!(
        !shown.contains("allocated by libcpp.so get_shared_memory:\n"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn any_report_is_rendered_without_control_characters(report in strategies::report()) {
        let options = TextOptions { quote_source: false, ..TextOptions::default() };
        let text = render(&report, options);
        prop_assert!(text.starts_with("heapledger: "));
        prop_assert!(text.ends_with('\n'));
        prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
    }
}
