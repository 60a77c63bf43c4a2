//! How a process died of what it did itself, in sentences.

use super::message::{foreign_name, sized_at};
use super::model::{Frame, Report, file_name};
use super::number::counted;
use crate::detect::Finding;

/// Errors that a crash with no further finding may come from are found with these.
const SCOPE: &str = "process";
const CHECK: &str = "guard";
/// What calls foreign functions and is called back by them.
const MACHINERY: [&str; 3] = ["libffi", "_ctypes.", "_cffi_backend."];
/// Below here nothing is ever mapped: a null pointer, or a member of the structure that it stands for.
const NULL_PAGE_END: u64 = 4_096;

/// The sentence of a finding that the process died of: it took what it read from a released block for an
/// address.
pub(super) fn followed(finding: &Finding) -> String {
    let word = finding.address;
    let from = match finding.block {
        Some(block) => format!("likely from {}", sized_at(&block)),
        None => "from which one is not known".to_owned(),
    };
    format!(
        "use after free: the process died of following {word}, which it read from a released block \
         (filled with bytes 0xbd), {from}"
    )
}

/// What the process died of and in which call, as a heading for the stack; `None` when it did not.
pub(super) fn heading(report: &Report) -> Option<String> {
    let process = &report.process;
    let crash = process.crash.as_ref()?;
    let signal = process.killed_by.as_deref().unwrap_or("a signal");
    let at = match crash.address {
        Some(address) if address < NULL_PAGE_END => {
            format!(" at address {address:#x}, a null pointer")
        }
        Some(address) => format!(" at address {address:#x}"),
        None => String::new(),
    };
    let within = match &crash.foreign_function {
        Some(called) => format!(", in {}", foreign_name(called)),
        None => String::new(),
    };
    Some(format!(
        "process {} died of {signal}{at}{within}",
        process.pid
    ))
}

/// The likely reason of a crash in the machinery of foreign calls while one is in progress: the library
/// called back what is no function any more. (What a call is given is converted before it begins.)
pub(super) fn hint(report: &Report) -> Option<String> {
    let crash = report.process.crash.as_ref()?;
    let called = crash.foreign_function.as_ref()?;
    let innermost = crash.stack.iter().find(|frame| !frame.is_python())?;
    let Frame::Native { library, .. } = innermost else {
        return None;
    };
    let library = file_name(library);
    let is_machinery = MACHINERY.iter().any(|name| library.starts_with(name));
    is_machinery.then(|| {
        format!(
            "likely {} called a callback whose Python object (CFUNCTYPE) is gone: the program must keep \
             a reference to it for as long as the library may call it",
            foreign_name(called)
        )
    })
}

/// What to try when nothing that was found explains the crash.
pub(super) fn advice(report: &Report) -> Option<String> {
    report.process.crash.as_ref()?;
    let is_error = |kind: &str| kind != "leak";
    if report.findings.iter().any(|found| is_error(&found.kind)) {
        return None;
    }
    let mut options = Vec::new();
    if report.options.scope != SCOPE {
        options.push(format!("--scope {SCOPE}"));
    }
    if !report.options.checks.iter().any(|check| check == CHECK) {
        options.push(format!("--check {CHECK}"));
    }
    if report.process.python.is_some() {
        options.push(
            "PYTHONMALLOC=malloc in the environment (so that buffers of Python's own are watched)"
                .to_owned(),
        );
    }
    let options = match options.as_slice() {
        [] => return None,
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    };
    Some(format!(
        "nothing that was found explains the crash of process {}: more is seen with {options}",
        report.process.pid
    ))
}

/// A heading for the leaks of processes that died so.
pub(super) fn still_used(count: usize) -> String {
    let leaks = counted(count as u64, "leak");
    format!("{leaks}: what was still in use when the process died counts, in short:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::{self, Crash, ForeignFunction};

    fn crashed(address: Option<u64>) -> Report {
        let mut report = Report::default();
        report.process.pid = 7;
        report.process.python = Some("3.13.1".to_owned());
        report.process.killed_by = Some("SIGSEGV".to_owned());
        report.options.scope = "foreign".to_owned();
        report.process.crash = Some(Crash {
            address,
            foreign_function: Some(ForeignFunction {
                library: "/usr/lib/libemulator.so".to_owned(),
                name: "start".to_owned(),
            }),
            stack: Vec::new(),
        });
        report
    }

    #[test]
    fn the_heading_tells_signal_address_and_call() {
        let says = |address| heading(&crashed(address)).unwrap();
        assert_eq!(
            says(Some(0x10)),
            "process 7 died of SIGSEGV at address 0x10, a null pointer, in libemulator.so start"
        );
        assert_eq!(
            says(None),
            "process 7 died of SIGSEGV, in libemulator.so start"
        );
        assert_eq!(heading(&Report::default()), None);
    }

    #[test]
    fn a_crash_of_the_machinery_within_a_call_is_a_dead_callback() {
        let mut report = crashed(Some(0x10));
        let in_library = |library: &str| Frame::Native {
            library: library.to_owned(),
            function: String::new(),
            file: String::new(),
            line: 0,
            address: 1,
            build_id: String::new(),
            offset: 0,
            internal: true,
            inlined: false,
        };
        let hint_in = |report: &mut Report, library| {
            report.process.crash.as_mut().unwrap().stack = vec![in_library(library)];
            hint(report)
        };
        let hinted = hint_in(&mut report, "/lib/libffi.so.8").unwrap();
        assert!(hinted.contains("libemulator.so start called a callback"));
        assert!(hint_in(&mut report, "/x/_ctypes.cpython-313-x86_64-linux-gnu.so").is_some());
        assert_eq!(hint_in(&mut report, "/lib/libc.so.6"), None);
        report.process.crash.as_mut().unwrap().foreign_function = None;
        assert_eq!(hint_in(&mut report, "/lib/libffi.so.8"), None);
    }

    #[test]
    fn what_is_not_on_yet_is_advised_unless_an_error_was_found() {
        let mut report = crashed(None);
        let advised = advice(&report).unwrap();
        for option in ["--scope process", "--check guard and PYTHONMALLOC=malloc"] {
            assert!(advised.contains(option), "{advised}");
        }
        report.options.scope = "process".to_owned();
        report.options.checks = vec!["guard".to_owned()];
        report.process.python = None;
        assert_eq!(advice(&report), None);
        let mut report = crashed(None);
        let found = |kind: &str| model::Finding {
            kind: kind.to_owned(),
            ..model::Finding::default()
        };
        report.findings.push(found("leak"));
        assert!(advice(&report).is_some());
        report.findings.push(found("heap-overflow"));
        assert_eq!(advice(&report), None);
        assert_eq!(advice(&Report::default()), None);
    }
}
