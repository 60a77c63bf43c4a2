//! Starting and stopping a session.

#![expect(unsafe_code, reason = "exports with pointers")]

use super::HlStatus;
use super::pointers::{bytes, text};
use super::status::{fail, respond};
use crate::capture::EventPlace;
use crate::detect::imprint::MomentKind;
use crate::intercept;
use crate::tracker::options::{Options, Scope};
use crate::tracker::session::StateError;
use crate::tracker::switching::Switching;
use crate::tracker::tracker;
use std::ffi::c_char;

/// Starts a session. `options` is text such as `scope=explicit:check=quarantine,redzone` or null
/// for the defaults; a colon inside a value is written `\\:`.
///
/// `HL_STATE` when one is running or another thread is starting or stopping at this moment,
/// `HL_INVALID_ARGUMENT` for an option that does not exist, `HL_UNSUPPORTED` for a scope that this
/// process cannot have. A session that the environment started goes on with the environment's
/// options, and `HL_OK` is returned.
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
    let Some(_switching) = Switching::begin() else {
        return busy();
    };
    match tracker.start(options) {
        Ok(()) => begin_interception(tracker.session().scope()),
        Err(StateError::Running | StateError::NotRunning) => fail(
            HlStatus::State,
            "a session is running already: stop it first",
        ),
    }
}

fn busy() -> HlStatus {
    fail(
        HlStatus::State,
        "another thread is starting or stopping a session at this moment: try again",
    )
}

/// Receives the calls that the scope asks for.
fn begin_interception(scope: Scope) -> HlStatus {
    if scope == Scope::Explicit {
        return HlStatus::Ok;
    }
    intercept::set_last_words(super::lifecycle::write_exit_report);
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
/// when none is running or another thread is starting or stopping at this moment. A session that
/// the environment started goes on until exit.
#[unsafe(no_mangle)]
pub extern "C" fn hl_stop() -> HlStatus {
    respond(|| {
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        let Some(_switching) = Switching::begin() else {
            return busy();
        };
        match tracker.stop() {
            Ok(()) => {
                if tracker.session().scope() == Scope::Explicit {
                    if intercept::is_on() {
                        // While releases are still seen: damage is not looked for afterwards.
                        tracker.verify(MomentKind::End, &EventPlace::UNKNOWN);
                    }
                    intercept::remove();
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
        let seen = tracker.verify(MomentKind::Check, &EventPlace::UNKNOWN);
        match seen.damaged_count {
            0 => HlStatus::Ok,
            _ => HlStatus::Finding,
        }
    })
}
