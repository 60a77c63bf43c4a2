//! Options as text: `scope=explicit:check=quarantine,redzone:json=/path/%p.json`.

pub use super::option_values::OptionError;
use super::option_values::{byte_count, count, path, split};
use crate::capture::NativeDepth;
use crate::detect::guard::Side;
use crate::detect::quarantine::Limits;

/// Which allocations enter the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// What goes through our own functions, and what is adopted.
    Explicit,
    /// What native code allocates while a foreign call is executing.
    Foreign,
    /// Every allocation of the process.
    Process,
}

/// What is done to recorded blocks beyond recording. The numbers are bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Check {
    /// Released blocks are withheld from reuse, and looked at for writes.
    Quarantine = 1,
    /// The bytes behind a block are watched.
    Redzone = 2,
    /// Blocks lie between pages that nobody may touch.
    Guard = 4,
}

/// How much of the native stack is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NativeStacks {
    /// The immediate caller only.
    Off,
    /// From the allocation to the foreign call.
    Boundary,
    /// The whole stack.
    Full,
}

impl NativeStacks {
    /// The same as an order to `capture`.
    #[must_use]
    pub fn depth(self) -> NativeDepth {
        match self {
            Self::Off => NativeDepth::Caller,
            Self::Boundary => NativeDepth::Boundary,
            Self::Full => NativeDepth::Full,
        }
    }
}

/// How Python frames are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PythonFrames {
    /// The native reader, where its self-check succeeds.
    Native,
    /// The Python package supplies them.
    Supplied,
}

/// How calls of foreign functions are seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForeignCalls {
    /// Where libffi is called, and at ctypes' types where that cannot be seen.
    Automatic,
    /// At ctypes' types.
    Types,
}

/// The options of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Which allocations enter the ledger.
    pub scope: Scope,
    /// [`Check`] bits.
    pub checks: u32,
    /// Of how many blocks one is guarded, when the check is on.
    pub guard_interval: u32,
    /// Whether the first block of each stack is guarded.
    pub guard_first: bool,
    /// Which end of a guarded block lies against a closed page.
    pub guard_side: Side,
    /// After how many releases everything is verified; zero for never.
    pub check_every: u32,
    /// How much the quarantine withholds at most.
    pub quarantine: Limits,
    /// How much of the native stack is recorded.
    pub native_stacks: NativeStacks,
    /// How Python frames are found.
    pub python_frames: PythonFrames,
    /// How calls of foreign functions are seen.
    pub foreign_calls: ForeignCalls,
    /// Whether every live block is a leak: the interpreter's and the C run time's, and what is kept.
    pub all_leaks: bool,
    /// Whether the report says what lies in blocks; otherwise none of it leaves the process.
    pub contents: bool,
    /// The process number of `heapledger run`: programs without Python that it has not started itself
    /// are not asked for leaks.
    pub run_by: Option<u32>,
    /// Where the report goes at exit; `%p` stands for the process's number.
    pub json: Option<String>,
    /// The same for people.
    pub text: Option<String>,
    /// The file of suppressions.
    pub suppressions: Option<String>,
}

impl Options {
    /// What holds before a session says otherwise: our own functions are recorded and checked.
    #[must_use]
    pub fn new() -> Self {
        Self {
            scope: Scope::Explicit,
            checks: Check::Quarantine as u32 | Check::Redzone as u32,
            guard_interval: 1,
            guard_first: false,
            guard_side: Side::Right,
            check_every: 0,
            quarantine: Limits::default(),
            native_stacks: NativeStacks::Boundary,
            python_frames: PythonFrames::Native,
            foreign_calls: ForeignCalls::Automatic,
            all_leaks: false,
            contents: false,
            run_by: None,
            json: None,
            text: None,
            suppressions: None,
        }
    }

    /// What a session has that does not say otherwise.
    #[must_use]
    pub fn of_session() -> Self {
        Self {
            scope: Scope::Foreign,
            ..Self::new()
        }
    }

    /// Reads options, each overriding what `self` says. A colon inside a value is written `\:`.
    ///
    /// # Errors
    /// The first key or value that is not known, named with those that are.
    pub fn with(mut self, text: &str) -> Result<Self, OptionError> {
        for part in split(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let Some((key, value)) = part.split_once('=') else {
                return Err(OptionError(format!(
                    "the option \"{part}\" has no value: write {part}=VALUE"
                )));
            };
            self.set(key.trim(), value.trim())?;
        }
        Ok(self)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), OptionError> {
        match key {
            "scope" => self.scope = choose(key, value, &SCOPES)?,
            "check" => self.checks = checks(value)?,
            "guard" => self.set_guard(value)?,
            "check_every" => self.check_every = count(key, value)?,
            "quarantine_blocks" => self.quarantine.block_count = count(key, value)?,
            "quarantine_bytes" => self.quarantine.byte_count = byte_count(key, value)?,
            "native_stacks" => self.native_stacks = choose(key, value, &NATIVE_STACKS)?,
            "python_frames" => self.python_frames = choose(key, value, &PYTHON_FRAMES)?,
            "foreign_calls" => self.foreign_calls = choose(key, value, &FOREIGN_CALLS)?,
            "all_leaks" => self.all_leaks = choose(key, value, &SWITCH)?,
            "contents" => self.contents = choose(key, value, &SWITCH)?,
            "run_by" => self.run_by = Some(count(key, value)?),
            "json" => self.json = path(key, value)?,
            "text" => self.text = path(key, value)?,
            "suppressions" => self.suppressions = path(key, value)?,
            _ => {
                return Err(OptionError(format!(
                    "there is no option \"{key}\": use scope, check, guard, check_every, \
                     quarantine_blocks, quarantine_bytes, native_stacks, python_frames, \
                     foreign_calls, all_leaks, contents, run_by, json, text \
                     or suppressions"
                )));
            }
        }
        Ok(())
    }

    /// Reads which blocks are guarded, and how: of what is said the last holds.
    fn set_guard(&mut self, value: &str) -> Result<(), OptionError> {
        let guard = Check::Guard as u32;
        let parts: Vec<&str> = value.split(',').map(str::trim).collect();
        let is_first = parts.contains(&"first");
        let mut has_interval = false;
        for part in &parts {
            match SIDES.iter().find(|(name, _)| name == part) {
                Some((_, side)) => self.guard_side = *side,
                None if *part == "first" => {}
                None if *part == "off" && parts.len() == 1 => {
                    self.checks &= !guard;
                    self.guard_first = false;
                    return Ok(());
                }
                None => {
                    self.guard_interval = one_of_how_many(part)?;
                    has_interval = true;
                }
            }
        }
        if has_interval || !is_first {
            self.checks |= guard;
        }
        self.guard_first = is_first;
        Ok(())
    }

    /// Whether the first block of each stack is guarded.
    #[must_use]
    pub fn guards_first(&self) -> bool {
        self.guard_first
    }

    /// The checks to carry out: a block for which there is no guarded place has the others.
    #[must_use]
    pub fn effective_checks(&self) -> u32 {
        if self.checks & Check::Guard as u32 == 0 {
            self.checks
        } else {
            self.checks | Check::Quarantine as u32 | Check::Redzone as u32
        }
    }

    /// Of how many blocks one is guarded; zero when none is.
    #[must_use]
    pub fn effective_guard_interval(&self) -> u32 {
        if self.checks & Check::Guard as u32 == 0 {
            0
        } else {
            self.guard_interval
        }
    }

    /// Whether a report is to be written when the process ends.
    #[must_use]
    pub fn has_report_at_exit(&self) -> bool {
        self.json.is_some() || self.text.is_some()
    }

    /// The names of the checks that are on.
    #[must_use]
    pub fn check_names(&self) -> Vec<&'static str> {
        let on = CHECKS
            .iter()
            .filter(|(_, check)| self.checks & *check as u32 != 0);
        on.map(|(name, _)| *name).collect()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

const SCOPES: [(&str, Scope); 3] = [
    ("explicit", Scope::Explicit),
    ("foreign", Scope::Foreign),
    ("process", Scope::Process),
];
const CHECKS: [(&str, Check); 3] = [
    ("quarantine", Check::Quarantine),
    ("redzone", Check::Redzone),
    ("guard", Check::Guard),
];
const SIDES: [(&str, Side); 3] = [
    ("right", Side::Right),
    ("left", Side::Left),
    ("alternate", Side::Alternate),
];
const NATIVE_STACKS: [(&str, NativeStacks); 3] = [
    ("off", NativeStacks::Off),
    ("boundary", NativeStacks::Boundary),
    ("full", NativeStacks::Full),
];
const PYTHON_FRAMES: [(&str, PythonFrames); 2] = [
    ("native", PythonFrames::Native),
    ("supplied", PythonFrames::Supplied),
];
const SWITCH: [(&str, bool); 2] = [("0", false), ("1", true)];
const FOREIGN_CALLS: [(&str, ForeignCalls); 2] = [
    ("auto", ForeignCalls::Automatic),
    ("types", ForeignCalls::Types),
];

macro_rules! named {
    ($kind:ty, $table:ident) => {
        impl $kind {
            /// The name used in options and reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                let found = $table.iter().find(|(_, value)| *value == self);
                found.map_or("unknown", |(name, _)| *name)
            }
        }
    };
}
named!(Scope, SCOPES);
named!(NativeStacks, NATIVE_STACKS);
named!(PythonFrames, PYTHON_FRAMES);
named!(ForeignCalls, FOREIGN_CALLS);

fn choose<T: Copy>(key: &str, value: &str, table: &[(&str, T)]) -> Result<T, OptionError> {
    let found = table.iter().find(|(name, _)| *name == value);
    found
        .map(|(_, chosen)| *chosen)
        .ok_or_else(|| unknown(key, value, table))
}

fn unknown<T>(key: &str, value: &str, table: &[(&str, T)]) -> OptionError {
    let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
    OptionError(format!(
        "{key} cannot be \"{value}\": use {}",
        names.join(", ")
    ))
}

fn checks(value: &str) -> Result<u32, OptionError> {
    let mut bits = 0;
    for name in value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && *name != "none")
    {
        bits |= choose("check", name, &CHECKS)? as u32;
    }
    Ok(bits)
}

/// Reads `1/N`.
fn one_of_how_many(value: &str) -> Result<u32, OptionError> {
    let number = value.strip_prefix("1/").and_then(|text| text.parse().ok());
    number.filter(|&number| number != 0).ok_or_else(|| {
        OptionError(format!(
            "guard cannot be \"{value}\": write first for the first block of each stack, off, or \
             1/100 for one of 100, and right, left or alternate for the side, such as \
             1/100,alternate"
        ))
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Options, String> {
        Options::of_session().with(text).map_err(|error| error.0)
    }

    #[test]
    fn every_option_is_read() {
        let text = "scope=process:check=redzone:native_stacks=full:json=/a\\:b/%p.json:\
                    text=/t:suppressions=/s:python_frames=supplied:foreign_calls=types:all_leaks=1:run_by=77:\
                    contents=1:quarantine_blocks=100:quarantine_bytes=64K";
        let options = read(text).expect("valid options");
        let expected = Options {
            scope: Scope::Process,
            checks: Check::Redzone as u32,
            guard_interval: 1,
            guard_first: false,
            guard_side: Side::Right,
            check_every: 0,
            quarantine: Limits {
                block_count: 100,
                byte_count: 64 << 10,
            },
            native_stacks: NativeStacks::Full,
            python_frames: PythonFrames::Supplied,
            foreign_calls: ForeignCalls::Types,
            all_leaks: true,
            contents: true,
            run_by: Some(77),
            json: Some("/a:b/%p.json".to_owned()),
            text: Some("/t".to_owned()),
            suppressions: Some("/s".to_owned()),
        };
        assert_eq!(options, expected);
        assert_eq!(options.check_names(), ["redzone"]);
    }

    #[test]
    fn guarding_brings_the_other_checks_for_what_finds_no_place() {
        let options = read("check=guard").expect("valid options");
        assert_eq!(options.check_names(), ["guard"]);
        assert_eq!(options.effective_checks(), 7);
        assert_eq!(options.effective_guard_interval(), 1);
        let sampled = read("guard=1/50:check_every=9").expect("valid options");
        assert_eq!(
            (sampled.effective_guard_interval(), sampled.check_every),
            (50, 9)
        );
        let both = read("guard=1/7,alternate").expect("valid options");
        assert_eq!((both.guard_interval, both.guard_side), (7, Side::Alternate));
        assert_eq!(Options::of_session().effective_guard_interval(), 0);
        for wrong in [
            "guard=50",
            "guard=1/0",
            "check_every=often",
            "quarantine_bytes=64X",
            "quarantine_bytes=M",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_block_of_each_stack_is_guarded_when_that_was_said() {
        let guards = |text: &str| {
            let options = read(text).expect("valid options");
            (options.guards_first(), options.effective_guard_interval())
        };
        assert_eq!(guards(""), (false, 0));
        assert_eq!(guards("guard=first"), (true, 0));
        for exactly in ["quarantine,redzone", "redzone", "none", ""] {
            assert_eq!(guards(&format!("check={exactly}")), (false, 0), "{exactly}");
        }
        assert_eq!(guards("guard=off"), (false, 0));
        assert_eq!(guards("check=guard"), (false, 1));
        assert_eq!(guards("check=guard:guard=off"), (false, 0));
        assert_eq!(guards("guard=left"), (false, 1));
        assert_eq!(guards("guard=1/9"), (false, 9));
        assert_eq!(guards("check=none:guard=first"), (true, 0));
        assert_eq!(guards("guard=first:check=redzone"), (true, 0));
        assert_eq!(guards("guard=first,1/9"), (true, 9));
        let left = read("guard=first,left").expect("valid options");
        assert!(left.guards_first() && left.guard_side == Side::Left);
        assert!(!Options::new().guards_first(), "no session");
        assert!(read("guard=off,left").is_err() && read("guard=").is_err());
    }

    #[test]
    fn what_is_not_said_keeps_its_default() {
        assert_eq!(read("").expect("nothing to read"), Options::of_session());
        assert_eq!(read(" : ").expect("nothing to read"), Options::of_session());
        assert_eq!(read("check=none").expect("no checks").checks, 0);
        assert_eq!(read("check=").expect("no checks").checks, 0);
    }

    #[test]
    fn a_mistake_is_named_with_what_would_be_right() {
        let wrong = |text| read(text).expect_err("a mistake");
        assert_eq!(
            wrong("scope=everything"),
            "scope cannot be \"everything\": use explicit, foreign, process"
        );
        assert_eq!(
            wrong("check=readzone"),
            "check cannot be \"readzone\": use quarantine, redzone, guard"
        );
        assert!(wrong("jason=/x").starts_with("there is no option \"jason\": use scope,"));
        assert_eq!(
            wrong("scope"),
            "the option \"scope\" has no value: write scope=VALUE"
        );
        assert_eq!(
            wrong("all_leaks=yes"),
            "all_leaks cannot be \"yes\": use 0, 1"
        );
        assert_eq!(wrong("json="), "json needs the path of a file");
    }
}
