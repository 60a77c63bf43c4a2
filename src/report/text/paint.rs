//! Colours of a terminal, or none.

/// Puts text between escape sequences when `on`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub(super) on: bool,
}

impl Paint {
    /// What the eye should find first.
    pub(super) fn strong(self, text: &str) -> String {
        self.between("\u{1b}[1m", text)
    }

    /// A title of an error or leak.
    pub(super) fn alarm(self, text: &str) -> String {
        self.between("\u{1b}[1;31m", text)
    }

    /// What matters less.
    pub(super) fn faint(self, text: &str) -> String {
        self.between("\u{1b}[2m", text)
    }

    fn between(self, start: &str, text: &str) -> String {
        if self.on {
            format!("{start}{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
