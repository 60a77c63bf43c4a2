//! How much is stored, and what did not fit.

use super::Capture;

/// What is stored and what was left out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CaptureCounters {
    /// Different stacks stored.
    pub stack_count: u64,
    /// Different places in code stored.
    pub site_count: u64,
    /// Different texts stored.
    pub text_count: u64,
    /// Bytes all of them take.
    pub byte_count: u64,
    /// Stacks of more than [`super::PYTHON_FRAME_COUNT_MAX`] Python frames, cut there.
    pub stack_cut_count: u64,
    /// Stacks of more native frames than are kept, cut there.
    pub native_cut_count: u64,
    /// Stacks whose native frames end where nothing says how to go on.
    pub native_lost_count: u64,
    /// Stacks for which there was no room; their events have no origin.
    pub stack_dropped_count: u64,
    /// Places for which there was no room; their stacks lack a frame.
    pub site_dropped_count: u64,
    /// Loaded objects for which there was no room; their frames have only an address.
    pub module_dropped_count: u64,
    /// Texts that were too long, cut.
    pub text_cut_count: u64,
    /// Texts for which there was no room; their frames lack a name.
    pub text_dropped_count: u64,
}

impl Capture {
    /// What is stored and what was left out.
    #[must_use]
    pub fn counters(&self) -> CaptureCounters {
        let (stacks, sites) = (self.stacks.records(), self.sites.records());
        let texts = self.sites.texts().records();
        let modules = self.sites.modules().records();
        let byte_count =
            stacks.byte_count() + sites.byte_count() + texts.byte_count() + modules.byte_count();
        let (native_cut_count, native_lost_count) = self.unwinder.cut_and_lost_counts();
        CaptureCounters {
            stack_count: stacks.len() as u64,
            site_count: sites.len() as u64,
            text_count: texts.len() as u64,
            byte_count: byte_count as u64,
            stack_cut_count: self.stacks.cut_count(),
            native_cut_count,
            native_lost_count,
            stack_dropped_count: stacks.dropped_count(),
            site_dropped_count: sites.dropped_count(),
            module_dropped_count: modules.dropped_count(),
            text_cut_count: self.sites.texts().cut_count(),
            text_dropped_count: texts.dropped_count(),
        }
    }
}
