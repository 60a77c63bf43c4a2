//! The symbols and lines of one module, read from its files.

use super::debug_file::{Cache, Elf, Root, open_debug_file, open_module, open_shared};
use super::demangle::readable;
use super::modules::Module;
use addr2line::Context;
use gimli::{Dwarf, EndianArcSlice, LittleEndian};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Debug information beyond this is not read, for one module: the report says where, without line.
const DEBUG_BYTE_MAX: u64 = 1 << 30;

/// glibc's function that ends a signal handler.
const RETURN_OF_SIGNALS: &str = "__restore_rt";

type Reader = EndianArcSlice<LittleEndian>;

/// A place in the source. Empty and zero: not known.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SourcePlace {
    /// The function, readable.
    pub function: String,
    /// The source file.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
}

/// What is known of a module's code.
#[derive(Default)]
pub(super) struct Symbols {
    functions: Vec<Function>,
    names: Vec<u8>,
    lines: Option<Context<Reader>>,
    /// What they take in memory, roughly.
    pub(super) byte_count: u64,
}

/// A function: its addresses in the file, and its name's place in `names`.
struct Function {
    start: u64,
    end: u64,
    name: Range<usize>,
}

impl Symbols {
    /// Reads what the module's files say. Nothing when they are gone or others by now.
    pub(super) fn read(root: &Root, module: &Module) -> Option<Self> {
        let file = open_module(root, module)?;
        let elf = Elf::parse(&file).ok()?;
        let path = Path::new(&module.path);
        let mut symbols = Self::default();
        symbols.add_functions(&elf);
        if has_lines(&elf) {
            symbols.add_lines(&elf, None);
        } else if let Some(file) = open_debug_file(root, path, &elf) {
            symbols.add_debug_file(root, path, &file);
        }
        symbols.sort();
        Some(symbols)
    }

    fn add_debug_file(&mut self, root: &Root, path: &Path, file: &Cache) {
        let Ok(elf) = Elf::parse(file) else {
            return;
        };
        self.add_functions(&elf);
        let shared = open_shared(root, path, &elf);
        let shared = shared.as_ref().and_then(|file| Elf::parse(file).ok());
        self.add_lines(&elf, shared.as_ref());
    }

    fn add_functions(&mut self, elf: &Elf<'_>) {
        for symbol in elf.symbols().chain(elf.dynamic_symbols()) {
            if symbol.kind() != SymbolKind::Text || symbol.is_undefined() {
                continue;
            }
            let name = symbol.name_bytes().unwrap_or_default();
            let (start, first) = (symbol.address(), self.names.len());
            self.names.extend_from_slice(name);
            self.functions.push(Function {
                start,
                end: start.saturating_add(symbol.size()),
                name: first..self.names.len(),
            });
        }
    }

    fn add_lines(&mut self, elf: &Elf<'_>, shared: Option<&Elf<'_>>) {
        let sizes = [Some(elf), shared]
            .into_iter()
            .flatten()
            .map(debug_byte_count);
        let byte_count = sizes.fold(0, u64::saturating_add);
        if byte_count > DEBUG_BYTE_MAX {
            return;
        }
        let Ok(mut dwarf) = Dwarf::load(|section| Ok::<_, gimli::Error>(load(elf, section.name())))
        else {
            return;
        };
        if let Some(shared) = shared {
            let _ = dwarf.load_sup(|section| Ok::<_, gimli::Error>(load(shared, section.name())));
        }
        self.lines = Context::from_dwarf(dwarf).ok();
        self.byte_count += byte_count;
    }

    /// Sorts functions by address. Of several at one address the longest name is kept last, so
    /// that a look-up meets it first: aliases are usually the shorter, internal ones.
    fn sort(&mut self) {
        self.functions
            .sort_by_key(|function| (function.start, function.name.len()));
        let entry = size_of::<Function>() as u64;
        self.byte_count += self.functions.len() as u64 * entry + self.names.len() as u64;
    }

    /// The source places of an address in the module's file, inlined functions first.
    pub(super) fn places(&self, address: u64) -> Vec<SourcePlace> {
        let mut places = self.lines_at(address).unwrap_or_default();
        if places.is_empty() {
            places.push(SourcePlace::default());
        }
        if let Some(outermost) = places.last_mut() {
            let symbol = self.function_at(address).map_or_else(String::new, readable);
            // Debug information of lines alone (`-g1`, assembly) has no name for the function
            // itself, and that of what only one file knows has no namespace.
            if outermost.function.is_empty() || is_qualified(&symbol, &outermost.function) {
                outermost.function = symbol;
            }
        }
        places
    }

    /// The source places of the call that returns to `address`.
    ///
    /// The return address may belong to the next line or function: the call lies before it. Only
    /// what the kernel calls signal handlers to return to was never called.
    pub(super) fn places_of_call(&self, address: u64) -> Vec<SourcePlace> {
        let before = address.saturating_sub(1);
        match self.function_at(address) {
            Some(RETURN_OF_SIGNALS) => self.places(address),
            _ => self.places(before),
        }
    }

    fn lines_at(&self, address: u64) -> Option<Vec<SourcePlace>> {
        let lines = self.lines.as_ref()?;
        let mut frames = lines.find_frames(address).skip_all_loads().ok()?;
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let name = frame
                .function
                .as_ref()
                .and_then(|name| name.raw_name().ok());
            let location = frame.location.as_ref();
            places.push(SourcePlace {
                function: name.map_or_else(String::new, |name: Cow<'_, str>| readable(&name)),
                file: location
                    .and_then(|it| it.file)
                    .unwrap_or_default()
                    .to_owned(),
                line: location.and_then(|it| it.line).unwrap_or(0),
            });
        }
        Some(places)
    }

    /// The function that contains an address. One that ended before it is not named: a stripped
    /// file has no names for functions that are not exported.
    fn function_at(&self, address: u64) -> Option<&str> {
        let after = self.functions.partition_point(|it| it.start <= address);
        let before = self.functions.get(..after)?;
        let start = before.last()?.start;
        let found = before
            .iter()
            .rev()
            .take_while(|function| function.start == start)
            .find(|function| address < function.end || function.end == function.start)?;
        std::str::from_utf8(self.names.get(found.name.clone())?).ok()
    }
}

impl std::fmt::Debug for Symbols {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Symbols")
            .field("functions", &self.functions.len())
            .field("has_lines", &self.lines.is_some())
            .finish_non_exhaustive()
    }
}

/// Whether a name is another's with the namespaces in front.
fn is_qualified(name: &str, plain: &str) -> bool {
    name.strip_suffix(plain)
        .is_some_and(|front| front.ends_with("::"))
}

fn has_lines(elf: &Elf<'_>) -> bool {
    elf.section_by_name(".debug_info")
        .is_some_and(|section| section.size() > 0)
}

/// What the debug information takes once it is decompressed. The sizes are what the file says: added
/// up they may be more than any number.
fn debug_byte_count(elf: &Elf<'_>) -> u64 {
    elf.sections()
        .filter(|section| section.name().is_ok_and(|name| name.starts_with(".debug_")))
        .filter_map(|section| section.compressed_file_range().ok())
        .fold(0, |sum, range| sum.saturating_add(range.uncompressed_size))
}

/// A section, decompressed; an empty one when the file has none of this name.
fn load(elf: &Elf<'_>, name: &str) -> Reader {
    let bytes = elf
        .section_by_name(name)
        .and_then(|section| section.uncompressed_data().ok())
        .unwrap_or_default();
    Reader::new(Arc::from(bytes), LittleEndian)
}
