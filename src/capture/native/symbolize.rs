//! From places in modules to functions and lines, for reports.
//!
//! Symbols are read when a report first asks for them and kept for the next report, up to a limit.
//! The files are asked, not the loaded objects: those may be gone. A module whose file is gone but
//! which is still loaded as it was is named by its exported symbols.

use super::debug_file::Root;
use super::demangle::readable;
use super::loaded::Loaded;
use super::modules::{Module, ModuleId};
use super::symbols::{SourcePlace, Symbols};
use super::with_symbol;
use crate::capture::frame::Frame;
use crate::capture::site_table::SiteTable;
use crate::memory::{Address, reserve};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, TryLockError};

/// How much memory symbols may take between reports. The module that was read last always stays.
const KEPT_BYTE_MAX: u64 = 256 << 20;
/// How many places are remembered with their names.
const PLACE_COUNT_MAX: usize = 1 << 16;

/// A place in a module: the return address, relative to the module's bias.
type Place = (ModuleId, u64);

/// What has been read so far.
#[derive(Debug, Default)]
pub(in crate::capture) struct Symbolizer {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    root: Root,
    modules: BTreeMap<ModuleId, KnownModule>,
    places: BTreeMap<Place, Vec<Frame>>,
}

#[derive(Debug)]
struct KnownModule {
    module: Module,
    symbols: Option<Symbols>,
}

impl Symbolizer {
    /// The frames of the call that returns to `offset` in `module`: functions that were inlined
    /// there first, the function itself last.
    pub(in crate::capture) fn frames(
        &self,
        sites: &SiteTable,
        module: ModuleId,
        offset: u64,
    ) -> Vec<Frame> {
        // Nobody waits: a thread that was in here at a fork is missing in the child.
        match self.known.try_lock() {
            Ok(mut known) => known.frames(sites, (module, offset)),
            Err(TryLockError::Poisoned(known)) => {
                PoisonError::into_inner(known).frames(sites, (module, offset))
            }
            Err(TryLockError::WouldBlock) => Known::default().frames(sites, (module, offset)),
        }
    }
}

impl Known {
    fn frames(&mut self, sites: &SiteTable, place: Place) -> Vec<Frame> {
        if let Some(frames) = self.places.get(&place) {
            return frames.clone();
        }
        let frames = self.look_up(sites, place);
        if self.places.len() >= PLACE_COUNT_MAX {
            self.places.clear();
        }
        self.places.insert(place, frames.clone());
        frames
    }

    fn look_up(&mut self, sites: &SiteTable, (module, offset): Place) -> Vec<Frame> {
        self.read_module(sites, module);
        let Some(known) = self.modules.get(&module) else {
            let nowhere = SourcePlace::default();
            return vec![frame(&Module::default(), nowhere, offset, false)];
        };
        let address = known.module.bias.wrapping_add(offset);
        let places = match &known.symbols {
            Some(symbols) => symbols.places_of_call(offset),
            None => vec![still_loaded(&known.module, address.saturating_sub(1))],
        };
        let count = places.len();
        let frames = places.into_iter().zip(1..);
        frames
            .map(|(place, number)| frame(&known.module, place, offset, number < count))
            .collect()
    }

    fn read_module(&mut self, sites: &SiteTable, number: ModuleId) {
        if self.modules.contains_key(&number) {
            return;
        }
        let Some(module) = sites.modules().module(sites.texts(), number) else {
            return;
        };
        // Symbols may take hundreds of megabytes; without them functions that are exported have names.
        let symbols = if reserve::is_in_use() {
            None
        } else {
            Symbols::read(&self.root, &module)
        };
        let size = |known: &KnownModule| known.symbols.as_ref().map_or(0, |it| it.byte_count);
        let new = symbols.as_ref().map_or(0, |symbols| symbols.byte_count);
        let total: u64 = self.modules.values().map(size).sum();
        if total.saturating_add(new) > KEPT_BYTE_MAX {
            self.modules.clear();
        }
        self.modules.insert(number, KnownModule { module, symbols });
    }
}

/// What the loader's tables say of a place, if the object there still is this module.
fn still_loaded(module: &Module, address: u64) -> SourcePlace {
    let place = Address::new(usize::try_from(address).unwrap_or(0));
    let is_same = Loaded::containing(place).is_some_and(|loaded| module.is_loaded_as(&loaded));
    if !is_same {
        return SourcePlace::default();
    }
    let function = with_symbol(place, |_, name| readable(&String::from_utf8_lossy(name)));
    SourcePlace {
        function,
        ..SourcePlace::default()
    }
}

fn frame(module: &Module, place: SourcePlace, offset: u64, is_inlined: bool) -> Frame {
    Frame::Native {
        library: module.path.clone(),
        function: place.function,
        file: place.file,
        line: place.line,
        address: module.bias.wrapping_add(offset),
        build_id: module.build_id().to_owned(),
        offset,
        is_internal: false,
        is_inlined,
    }
}
