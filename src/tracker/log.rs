//! Where our own log goes: to stderr or a file by `HEAPLEDGER_LOG`, and to a function when asked.
//!
//! `HEAPLEDGER_LOG=stderr`, `HEAPLEDGER_LOG=/path/of/a.log`, either followed by `,LEVEL` (error,
//! warn, info, debug, trace; info where it is not said). Nothing is installed when neither is
//! wanted, and then an event costs one relaxed load.

use crate::memory::reentry::as_the_program;
use parking_lot::RwLock;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::str::FromStr;
use std::sync::Once;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{Registry, fmt};

/// Gets a level (1 error … 5 trace) and a line without a line end.
pub type Forward = fn(u32, &str);

static FORWARD: RwLock<Option<Forward>> = RwLock::new(None);
static INSTALL: Once = Once::new();

/// Installs what `HEAPLEDGER_LOG` asks for. A file that cannot be opened is named in the result.
///
/// # Errors
/// A sentence that says what is wrong with the setting.
pub fn install(setting: Option<&str>) -> Result<(), String> {
    let Some(setting) = setting.filter(|setting| !setting.is_empty()) else {
        return Ok(());
    };
    let (destination, level) = match setting.rsplit_once(',') {
        Some((destination, level)) => (destination, parse_level(level)?),
        None => (setting, LevelFilter::INFO),
    };
    if destination == "stderr" {
        let layer = fmt::layer().with_ansi(false).with_writer(std::io::stderr);
        install_once(
            Registry::default()
                .with(ToFunction)
                .with(layer.with_filter(level)),
        );
        return Ok(());
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(destination)
        .map_err(|error| format!("HEAPLEDGER_LOG: {destination} cannot be opened: {error}"))?;
    let layer = fmt::layer()
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(file));
    install_once(
        Registry::default()
            .with(ToFunction)
            .with(layer.with_filter(level)),
    );
    Ok(())
}

/// Sends every line to `function` from now on, or to nobody.
pub fn forward_to(function: Option<Forward>) {
    if function.is_some() {
        install_once(Registry::default().with(ToFunction));
    }
    *FORWARD.write() = function;
}

fn install_once(subscriber: impl Subscriber + Send + Sync) {
    INSTALL.call_once(|| {
        // Refused only when somebody installed another one in this copy of `tracing`: a Rust
        // program that links us and logs on its own. Then our events go to its subscriber.
        let _ = tracing::subscriber::set_global_default(subscriber);
    });
}

fn parse_level(name: &str) -> Result<LevelFilter, String> {
    LevelFilter::from_str(name).map_err(|_| {
        format!(
            "HEAPLEDGER_LOG: there is no level \"{name}\": use error, warn, info, debug or trace"
        )
    })
}

/// Hands events to the registered function.
struct ToFunction;

impl<S: Subscriber> Layer<S> for ToFunction {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let Some(forward) = *FORWARD.read() else {
            return;
        };
        let mut line = Line(String::new());
        event.record(&mut line);
        let level = number_of(*event.metadata().level());
        as_the_program(|| forward(level, &line.0));
    }
}

fn number_of(level: Level) -> u32 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// An event as one line: the message, then `name=value` for each field.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            let rest = std::mem::take(&mut self.0);
            let separator = if rest.is_empty() { "" } else { " " };
            write!(self.0, "{value:?}{separator}{rest}")
        } else {
            write!(self.0, "{separator}{}={value:?}", field.name())
        };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_setting_is_named() {
        assert!(install(None).is_ok());
        assert!(install(Some("")).is_ok());
        let level = install(Some("stderr,loud")).expect_err("no such level");
        assert!(level.contains("\"loud\""), "{level}");
        let file = install(Some("/nowhere/at/all.log")).expect_err("no such folder");
        assert!(file.contains("/nowhere/at/all.log"), "{file}");
    }
}
