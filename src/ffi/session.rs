//! Starting and stopping a session.

#![expect(unsafe_code, reason = "exports with pointers")]

use super::HlStatus;
use super::pointers::{bytes, text};
use super::status::{fail, respond};
use crate::intercept;
use crate::tracker::options::{Options, Scope};
use crate::tracker::session::StateError;
use crate::tracker::{existing, tracker};
use std::ffi::c_char;

/// Starts a session. `options` is text such as `scope=explicit:check=quarantine,redzone` or null
/// for the defaults; a colon inside a value is written `\\:`.
///
/// `HL_STATE` when one is running, `HL_INVALID_ARGUMENT` for an option that does not exist,
/// `HL_UNSUPPORTED` for a scope that this process cannot have. A session that the environment
/// started goes on with the environment's options, and `HL_OK` is returned.
///
/// # Safety
/// * `options` is null or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_start(options: *const c_char) -> HlStatus {
    respond(|| {
        // SAFETY: the caller vouches for the string.
        let given = match unsafe { bytes(options) } {
            None => "",
            // SAFETY: the caller vouches for the string.
            Some(_) => match unsafe { text(options, "options") } {
                Ok(text) => text,
                Err(status) => return status,
            },
        };
        match Options::of_session().with(given) {
            Ok(options) => start(options),
            Err(error) => fail(HlStatus::InvalidArgument, error.0),
        }
    })
}

pub(super) fn start(options: Options) -> HlStatus {
    let Some(tracker) = tracker() else {
        return HlStatus::OutOfMemory;
    };
    if let Some(path) = &options.suppressions
        && let Err(error) = super::reports::load_suppressions(path)
    {
        return fail(HlStatus::Io, error);
    }
    match tracker.start(options) {
        Ok(()) => begin_interception(tracker.session().scope()),
        Err(StateError::Running | StateError::NotRunning) => fail(
            HlStatus::State,
            "a session is running already: stop it first",
        ),
    }
}

/// Receives the calls that the scope asks for.
fn begin_interception(scope: Scope) -> HlStatus {
    if scope == Scope::Explicit {
        return HlStatus::Ok;
    }
    intercept::set_last_words(super::lifecycle::write_exit_report);
    if !intercept::is_on()
        && let Some(tracker) = existing()
    {
        tracker.begin_watch();
    }
    match intercept::install(scope) {
        Ok(_) => {
            note_what_is_not_seen();
            HlStatus::Ok
        }
        Err(reason) => fail(HlStatus::Unsupported, reason.to_string()),
    }
}

/// Says in the report why calls are not seen where the kernel does not let us.
fn note_what_is_not_seen() {
    let Some(tracker) = tracker() else { return };
    let count = intercept::protected_slot_count();
    if !intercept::can_read_mappings() {
        tracker.session().note_trouble(
            "/proc/self/maps cannot be read: most libraries' calls are not seen; mount /proc, or \
             use what heapledger allocates itself",
        );
    } else if count > 0 {
        tracker.session().note_trouble(&format!(
            "calls through {count} slots are not seen: their memory cannot be made writable, and blocks \
             get no redzone and are not withheld; allow mprotect, or use what heapledger allocates itself"
        ));
    }
}

/// Stops the session. Our own functions go on recording; what is known stays known. `HL_STATE`
/// when none is running. A session that the environment started goes on until exit.
#[unsafe(no_mangle)]
pub extern "C" fn hl_stop() -> HlStatus {
    respond(|| {
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        match tracker.stop() {
            Ok(()) => {
                if tracker.session().scope() == Scope::Explicit {
                    let was_on = intercept::is_on();
                    intercept::remove();
                    if was_on {
                        tracker.end_watch();
                    }
                }
                HlStatus::Ok
            }
            Err(StateError::Running | StateError::NotRunning) => {
                fail(HlStatus::State, "no session is running")
            }
        }
    })
}

/// Looks for damage in every recorded block now: behind live ones, inside withheld ones. Each
/// damaged block is a finding, once. `HL_FINDING` when there was new damage.
#[unsafe(no_mangle)]
pub extern "C" fn hl_check() -> HlStatus {
    respond(|| {
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        match tracker
            .verify(crate::capture::EventPlace::UNKNOWN)
            .damaged_count
        {
            0 => HlStatus::Ok,
            _ => HlStatus::Finding,
        }
    })
}
