//! One loaded object as the dynamic linker left it in memory: its segments, its dynamic table, its
//! relocations and the symbols it defines.
//!
//! Everything is read through [`Image::table`], which answers only for addresses inside a readable
//! segment of this object, so a damaged or half-loaded object yields `None` and never a fault.

#![expect(unsafe_code, reason = "reads the memory of loaded objects")]

use std::ffi::CStr;

use super::elf_layout::{
    DynamicEntry, HashHeader, Plain, ProgramHeader, Relocation, Symbol, flag, kind, tag,
};

/// Dynamic entries looked at before a table without an end is given up.
const DYNAMIC_ENTRY_COUNT_MAX: usize = 512;
/// Symbols looked at in one bucket of a hash table.
const CHAIN_LENGTH_MAX: u32 = 1 << 16;
/// Bytes of a symbol name that are read.
const NAME_BYTE_MAX: usize = 512;

/// A range of addresses: `start` inclusive, `end` exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Range {
    /// The first address.
    pub(super) start: usize,
    /// The first address that does not belong to it.
    pub(super) end: usize,
}

impl Range {
    /// Whether `address` lies in the range.
    pub(super) fn contains(self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// Whether `byte_count` bytes from `address` lie in the range.
    pub(super) fn covers(self, address: usize, byte_count: usize) -> bool {
        address >= self.start && address <= self.end && byte_count <= self.end - address
    }

    /// The range in whole pages of `page` bytes, the end rounded down as ld.so does for RELRO.
    fn in_pages_rounded_down(self, page: usize) -> Self {
        Self {
            start: self.start & !(page - 1),
            end: self.end & !(page - 1),
        }
    }
}

/// What tells one loading of an object from another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Identity {
    base: usize,
    headers: usize,
    dynamic: usize,
    name_hash: u64,
}

/// What the dynamic table says, as addresses in memory.
#[derive(Clone, Copy, Default, Debug)]
struct Dynamic {
    symbols: usize,
    text: usize,
    text_byte_count: usize,
    relocations: usize,
    relocation_byte_count: usize,
    call_relocations: usize,
    call_relocation_byte_count: usize,
    gnu_hash: usize,
    soname: Option<usize>,
    symbolic: bool,
}

/// A loaded object, valid while the dynamic linker's list is locked.
#[derive(Clone, Debug)]
pub(super) struct Image<'list> {
    name: &'list [u8],
    base: usize,
    headers: &'list [ProgramHeader],
    dynamic_address: usize,
    dynamic: Dynamic,
}

impl<'list> Image<'list> {
    /// Describes the object that `dl_iterate_phdr` is showing; `None` for one without a dynamic
    /// table.
    ///
    /// # Safety
    /// * `info` is what `dl_iterate_phdr` passed to its callback.
    /// * `'list` ends before that callback returns: until then the object stays mapped.
    pub(super) unsafe fn from_listing(info: &libc::dl_phdr_info) -> Option<Self> {
        let name: &'list [u8] = if info.dlpi_name.is_null() {
            b""
        } else {
            // SAFETY: ld.so keeps the name NUL-terminated as long as the object is in its list.
            unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes()
        };
        // SAFETY: the caller's duties are the same.
        let headers: &'list [ProgramHeader] = unsafe { headers_of(info) };
        let base = usize::try_from(info.dlpi_addr).ok()?;
        let mut image = Self {
            name,
            base,
            headers,
            dynamic_address: 0,
            dynamic: Dynamic::default(),
        };
        image.dynamic_address = image.segments(kind::DYNAMIC).next()?.start;
        image.dynamic = image.read_dynamic();
        Some(image)
    }

    /// The file the object was loaded from; empty for the main program.
    pub(super) fn name(&self) -> &'list [u8] {
        self.name
    }

    /// The last part of [`Image::name`].
    pub(super) fn file_name(&self) -> &'list [u8] {
        self.name
            .rsplit(|&byte| byte == b'/')
            .next()
            .unwrap_or(self.name)
    }

    /// The name other objects ask for it by.
    pub(super) fn soname(&self) -> Option<&'list [u8]> {
        self.text_at(self.dynamic.soname?)
    }

    /// The distance between addresses in the file and in memory.
    pub(super) fn base(&self) -> usize {
        self.base
    }

    /// Whether references of the object are bound to its own definitions first.
    pub(super) fn is_symbolic(&self) -> bool {
        self.dynamic.symbolic
    }

    /// What tells this loading from any other.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            base: self.base,
            headers: self.headers.as_ptr().addr(),
            dynamic: self.dynamic_address,
            name_hash: self.name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            }),
        }
    }

    /// The ranges of the program headers of one kind.
    fn segments(&self, wanted: u32) -> impl Iterator<Item = Range> + use<'list> {
        let (base, headers) = (self.base, self.headers);
        headers
            .iter()
            .filter(move |header| header.kind == wanted)
            .map(move |h| h.range(base))
    }

    /// Loaded segments with their `PF_*` flags.
    pub(super) fn loaded(&self) -> impl Iterator<Item = (Range, u32)> + use<'list> {
        let (base, headers) = (self.base, self.headers);
        headers
            .iter()
            .filter(|header| header.kind == kind::LOAD)
            .map(move |header| (header.range(base), header.flags))
    }

    /// Whether `address` lies in a loaded segment.
    pub(super) fn contains(&self, address: usize) -> bool {
        self.loaded().any(|(range, _)| range.contains(address))
    }

    /// Whether `address` lies in executable memory of the object.
    pub(super) fn has_code_at(&self, address: usize) -> bool {
        self.loaded()
            .any(|(range, flags)| flags & flag::EXECUTE != 0 && range.contains(address))
    }

    /// The pages ld.so makes read-only once it has relocated the object; empty without RELRO.
    pub(super) fn relro_pages(&self, page: usize) -> Range {
        let range = self.segments(kind::GNU_RELRO).next().unwrap_or_default();
        range.in_pages_rounded_down(page)
    }

    /// `count` values at `address`, if all of them lie in one readable segment of the object.
    pub(super) fn table<T: Plain>(&self, address: usize, count: usize) -> Option<&'list [T]> {
        let byte_count = count.checked_mul(size_of::<T>())?;
        let readable = self
            .loaded()
            .any(|(range, flags)| flags & flag::READ != 0 && range.covers(address, byte_count));
        if !readable || !address.is_multiple_of(align_of::<T>()) {
            return None;
        }
        let start = std::ptr::with_exposed_provenance::<T>(address);
        // SAFETY: the bytes lie in a readable segment that stays mapped for `'list` (duty of
        // `from_listing`), the address is aligned, and `Plain` types have no invalid bytes. ld.so
        // writes slots of data segments while we look only during relocation, and slots are read
        // through atomics elsewhere; the tables read here are constant.
        Some(unsafe { std::slice::from_raw_parts(start, count) })
    }

    fn value<T: Plain>(&self, address: usize) -> Option<T> {
        self.table::<T>(address, 1)?.first().copied()
    }

    fn read_dynamic(&self) -> Dynamic {
        let mut dynamic = Dynamic::default();
        for index in 0..DYNAMIC_ENTRY_COUNT_MAX {
            let place = self.dynamic_address + index * size_of::<DynamicEntry>();
            match self.value::<DynamicEntry>(place) {
                Some(entry) if entry.tag != tag::NULL => self.note(&mut dynamic, entry),
                _ => break,
            }
        }
        dynamic
    }

    fn note(&self, dynamic: &mut Dynamic, entry: DynamicEntry) {
        let address = self.in_memory(entry.value);
        match entry.tag {
            tag::SYMTAB => dynamic.symbols = address,
            tag::STRTAB => dynamic.text = address,
            tag::STRSZ => dynamic.text_byte_count = entry.value,
            tag::RELA => dynamic.relocations = address,
            tag::RELASZ => dynamic.relocation_byte_count = entry.value,
            tag::JMPREL => dynamic.call_relocations = address,
            tag::PLTRELSZ => dynamic.call_relocation_byte_count = entry.value,
            tag::GNU_HASH => dynamic.gnu_hash = address,
            tag::SONAME => dynamic.soname = Some(entry.value),
            tag::SYMBOLIC => dynamic.symbolic = true,
            tag::FLAGS => dynamic.symbolic |= entry.value & flag::SYMBOLIC != 0,
            _ => {}
        }
    }

    /// glibc turns the addresses in the dynamic table into addresses in memory when it loads an
    /// object; one that it has not come to yet (or the vdso) still holds distances.
    fn in_memory(&self, value: usize) -> usize {
        if value < self.base {
            self.base.wrapping_add(value)
        } else {
            value
        }
    }

    /// Relocations of data and of calls, in the order ld.so applies them.
    pub(super) fn relocations(&self) -> impl Iterator<Item = Relocation> + use<'list> {
        let each = size_of::<Relocation>();
        let dynamic = &self.dynamic;
        let data = self.table(dynamic.relocations, dynamic.relocation_byte_count / each);
        let calls = self.table(
            dynamic.call_relocations,
            dynamic.call_relocation_byte_count / each,
        );
        data.unwrap_or_default()
            .iter()
            .chain(calls.unwrap_or_default())
            .copied()
    }

    /// The symbol with this index.
    pub(super) fn symbol(&self, index: usize) -> Option<Symbol> {
        self.value(
            self.dynamic
                .symbols
                .checked_add(index.checked_mul(size_of::<Symbol>())?)?,
        )
    }

    /// The name of a symbol.
    pub(super) fn symbol_name(&self, symbol: &Symbol) -> Option<&'list [u8]> {
        self.text_at(usize::try_from(symbol.name).ok()?)
    }

    /// The text at `offset` of the string table, without its NUL.
    fn text_at(&self, offset: usize) -> Option<&'list [u8]> {
        let left = self
            .dynamic
            .text_byte_count
            .checked_sub(offset)?
            .min(NAME_BYTE_MAX);
        let bytes = self.table::<u8>(self.dynamic.text.checked_add(offset)?, left)?;
        let end = bytes.iter().position(|&byte| byte == 0)?;
        bytes.get(..end)
    }

    /// The names of the objects this one asks for.
    pub(super) fn needed(&self) -> Vec<&'list [u8]> {
        (0..DYNAMIC_ENTRY_COUNT_MAX)
            .map_while(|index| {
                let place = self.dynamic_address + index * size_of::<DynamicEntry>();
                self.value::<DynamicEntry>(place)
                    .filter(|entry| entry.tag != tag::NULL)
            })
            .filter(|entry| entry.tag == tag::NEEDED)
            .filter_map(|entry| self.text_at(entry.value))
            .collect()
    }

    /// Where the object defines the function `name`, if it does.
    pub(super) fn definition(&self, name: &[u8]) -> Option<usize> {
        self.find_symbol(name)
            .filter(|symbol| symbol.is_defined() && symbol.is_function())
            .map(|symbol| self.base.wrapping_add(symbol.value))
    }

    /// Where the object defines the variable `name`, and how many bytes it has.
    pub(super) fn object(&self, name: &[u8]) -> Option<(usize, usize)> {
        self.find_symbol(name)
            .filter(|symbol| symbol.is_defined() && !symbol.is_function())
            .map(|symbol| (self.base.wrapping_add(symbol.value), symbol.byte_count))
    }

    /// Looks `name` up in the object's GNU hash table. Every object that a linker of the last
    /// fifteen years made has one; one without defines nothing for us.
    fn find_symbol(&self, name: &[u8]) -> Option<Symbol> {
        let header = self.value::<HashHeader>(self.dynamic.gnu_hash)?;
        let hash = gnu_hash(name);
        let buckets = self.buckets(&header)?;
        let bucket = usize::try_from(hash.checked_rem(header.bucket_count)?).ok()?;
        let first = self.value::<u32>(buckets + bucket * size_of::<u32>())?;
        let chains = buckets + usize::try_from(header.bucket_count).ok()? * size_of::<u32>();
        for index in first..first.checked_add(CHAIN_LENGTH_MAX)? {
            let link = usize::try_from(index.checked_sub(header.first_symbol)?).ok()?;
            let chained = self.value::<u32>(chains + link * size_of::<u32>())?;
            if chained | 1 == hash | 1 {
                let symbol = self.symbol(usize::try_from(index).ok()?)?;
                if self.symbol_name(&symbol) == Some(name) {
                    return Some(symbol);
                }
            }
            if chained & 1 != 0 {
                return None;
            }
        }
        None
    }

    /// Whether the object defines any symbol whose name starts with `prefix`. Looks at every
    /// defined symbol.
    pub(super) fn defines_prefix(&self, prefix: &[u8]) -> bool {
        let Some((first, end)) = self.defined_symbols() else {
            return false;
        };
        (first..end)
            .map_while(|index| self.symbol(index))
            .filter(Symbol::is_defined)
            .filter_map(|symbol| self.symbol_name(&symbol))
            .any(|name| name.starts_with(prefix))
    }

    /// The indexes of the symbols in the hash table: the first, and the one after the last. The
    /// last is the end of the chain of the bucket that starts last.
    fn defined_symbols(&self) -> Option<(usize, usize)> {
        let header = self.value::<HashHeader>(self.dynamic.gnu_hash)?;
        let bucket_count = usize::try_from(header.bucket_count).ok()?;
        let buckets = self.buckets(&header)?;
        let chains = buckets + bucket_count * size_of::<u32>();
        let last_start = self.table::<u32>(buckets, bucket_count)?.iter().max()?;
        let mut link = usize::try_from(last_start.checked_sub(header.first_symbol)?).ok()?;
        while self.value::<u32>(chains + link * size_of::<u32>())? & 1 == 0 {
            link += 1;
        }
        let first = usize::try_from(header.first_symbol).ok()?;
        Some((first, first + link + 1))
    }

    /// Where the buckets of the hash table begin.
    fn buckets(&self, header: &HashHeader) -> Option<usize> {
        let filter = usize::try_from(header.bloom_count).ok()? * size_of::<u64>();
        Some(self.dynamic.gnu_hash + size_of::<HashHeader>() + filter)
    }
}

/// The program headers of an object.
///
/// # Safety
/// * As for [`Image::from_listing`].
unsafe fn headers_of<'list>(info: &libc::dl_phdr_info) -> &'list [ProgramHeader] {
    if info.dlpi_phdr.is_null() {
        return &[];
    }
    let count = usize::from(info.dlpi_phnum);
    // SAFETY: ld.so says that `count` program headers lie there; our type has their layout.
    unsafe { std::slice::from_raw_parts(info.dlpi_phdr.cast(), count) }
}

/// The hash function of `DT_GNU_HASH`.
fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5_381, |hash: u32, &byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_covers_what_ends_at_its_end_and_nothing_beyond() {
        let range = Range {
            start: 0x1000,
            end: 0x2000,
        };
        assert!(range.covers(0x1000, 0x1000));
        assert!(range.covers(0x2000, 0));
        assert!(!range.covers(0x1fff, 2));
        assert!(!range.covers(0x1000, usize::MAX), "no overflow");
        assert!(!range.covers(0xfff, 1));
    }

    #[test]
    fn the_hash_is_the_one_linkers_use() {
        assert_eq!(gnu_hash(b""), 5_381);
        assert_eq!(gnu_hash(b"printf"), 0x156b_2bb8);
    }
}
