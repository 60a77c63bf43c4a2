//! The native part of a stack: what it is recognised by, and the places it is made of.

use super::Capture;
use super::event::EventPlace;
use super::hash::Hash;
use super::location::LocationId;
use super::native::{self, NATIVE_FRAME_COUNT_MAX, NativeDepth, Registers, load_generation};
use super::site_table::SiteId;
use crate::memory::FrameAddress;

/// The places of a native stack, innermost first.
#[derive(Debug)]
pub(super) struct NativeStack {
    sites: [SiteId; NATIVE_FRAME_COUNT_MAX],
    length: usize,
    /// How many lie inside the innermost Python frame.
    inner: usize,
}

impl NativeStack {
    const EMPTY: Self = Self {
        sites: [SiteId::NONE; NATIVE_FRAME_COUNT_MAX],
        length: 0,
        inner: 0,
    };

    /// The places inside the innermost Python frame.
    pub(super) fn inner(&self) -> &[SiteId] {
        self.sites.get(..self.inner).unwrap_or_default()
    }

    /// The places outside of it.
    pub(super) fn outer(&self) -> &[SiteId] {
        self.sites.get(self.inner..self.length).unwrap_or_default()
    }

    fn push(&mut self, site: SiteId) {
        if let Some(place) = self.sites.get_mut(self.length) {
            *place = site;
            self.length += 1;
        }
    }

    fn of(site: SiteId) -> Self {
        let mut stack = Self::EMPTY;
        stack.push(site);
        stack.inner = 1;
        stack
    }
}

/// What an event's native stack is found from.
pub(super) enum Origin {
    Location(LocationId),
    Caller(FrameAddress),
    Registers(Registers, NativeDepth),
}

impl Capture {
    /// What an event's native stack is recognised by.
    pub(super) fn native_key(&self, origin: &Origin) -> u64 {
        /// Tells the number of a location from an address.
        const LOCATION: u64 = 1 << 63;
        match *origin {
            Origin::Location(location) => u64::from(location.site().0) | LOCATION,
            Origin::Caller(caller) => {
                caller.return_address() as u64 ^ load_generation::current() << 48
            }
            Origin::Registers(registers, depth) => self.unwinder.key(registers, depth),
        }
    }

    /// The places of an event's native stack.
    pub(super) fn native_stack(&self, place: &EventPlace) -> NativeStack {
        match self.origin(place) {
            Origin::Location(location) => NativeStack::of(location.site()),
            // The frames of those who only carry calls say nothing that Python's do not say better.
            Origin::Caller(caller)
                if !caller.is_known() || self.unwinder.is_internal(caller.return_address()) =>
            {
                NativeStack::EMPTY
            }
            Origin::Caller(caller) => {
                NativeStack::of(self.native_site(caller.return_address(), false))
            }
            Origin::Registers(registers, depth) => {
                let mut stack = NativeStack::EMPTY;
                let mut is_inner = true;
                self.unwinder
                    .visit(registers, depth, |address, is_internal| {
                        is_inner &= !is_internal;
                        stack.push(self.native_site(address, is_internal));
                        stack.inner += usize::from(is_inner);
                    });
                stack
            }
        }
    }

    /// What the native stack of an event here is found from.
    #[inline]
    pub(super) fn origin(&self, place: &EventPlace) -> Origin {
        if place.location != LocationId::NONE {
            return Origin::Location(place.location);
        }
        // Without a caller the machinery of foreign calls did it itself, at the boundary.
        match self.unwinder.depth() {
            NativeDepth::Caller => Origin::Caller(place.caller),
            NativeDepth::Boundary if !place.caller.is_known() => Origin::Caller(place.caller),
            _ if !place.registers.is_known() => Origin::Caller(place.caller),
            depth => Origin::Registers(place.registers, depth),
        }
    }

    fn native_site(&self, address: usize, is_internal: bool) -> SiteId {
        let key = Hash::seeded(2)
            .with(address as u64)
            .with(load_generation::current())
            .get();
        let caller = FrameAddress::from_return_address(address);
        self.seen_site(key, || native::intern(&self.sites, caller, is_internal))
    }
}
