//! The rule of a place, read from the unwind information of the object that contains it.
//!
//! Cold: once for each return address. The information is what C++ exceptions are thrown by, in the
//! object's own mapped segments; the object stays loaded while a frame of this thread is in it.

use super::loaded::Loaded;
use super::rule::{Base, Rule, SavedFramePointer};
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, Operation, Pointer,
    Register, RegisterRule, UnwindContext, UnwindExpression, UnwindSection, UnwindTableRow, X86_64,
};

type Bytes<'object> = EndianSlice<'object, LittleEndian>;
type Section<'object> = EhFrame<Bytes<'object>>;

/// The rule for the instruction at `place` in `loaded`; [`Rule::UNKNOWN`] when the object does not
/// say, or says something that no rule of ours expresses.
pub(super) fn rule_at(loaded: &Loaded, place: usize) -> Rule {
    find(loaded, place).unwrap_or(Rule::UNKNOWN)
}

fn find(loaded: &Loaded, place: usize) -> Option<Rule> {
    let header_address = loaded.unwind_table;
    let header = EhFrameHdr::new(loaded.rest_of_segment(header_address)?, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame_hdr(header_address as u64);
    let header = header
        .parse(&bases, size_of::<usize>().try_into().ok()?)
        .ok()?;
    let Pointer::Direct(frame_address) = header.eh_frame_ptr() else {
        return None;
    };
    let bytes = loaded.rest_of_segment(usize::try_from(frame_address).ok()?)?;
    let bases = bases.set_eh_frame(frame_address);
    let section = EhFrame::new(bytes, LittleEndian);
    let place = place as u64;
    let entry = header
        .table()?
        .fde_for_address(&section, &bases, place, EhFrame::cie_from_offset)
        .ok()?;
    if entry.is_signal_trampoline() {
        return Some(Rule::SIGNAL);
    }
    // On our own heap: the context takes several kilobytes.
    let mut context = Box::new(UnwindContext::new());
    let row = entry
        .unwind_info_for_address(&section, &bases, &mut context, place)
        .ok()?;
    translate(&section, row)
}

fn translate(section: &Section<'_>, row: &UnwindTableRow<usize>) -> Option<Rule> {
    match row.register(X86_64::RA) {
        Some(RegisterRule::Undefined) => return Some(Rule::OUTERMOST),
        Some(RegisterRule::Offset(-8)) => {}
        // Where the return address is kept elsewhere (`retpoline` thunks, hand-written switches of
        // stacks), a stack ends.
        _ => return None,
    }
    let saved = match row.register(X86_64::RBP) {
        None | Some(RegisterRule::SameValue) => SavedFramePointer::Untouched,
        Some(RegisterRule::Offset(offset)) => SavedFramePointer::At(offset),
        Some(RegisterRule::Expression(expression)) => {
            let (base, offset) = address_of(section, expression)?;
            if base != Base::FramePointer {
                return None;
            }
            SavedFramePointer::AtFramePointer(offset)
        }
        Some(_) => return None,
    };
    match *row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            Rule::usual(base_of(register)?, offset, saved)
        }
        CfaRule::Expression(expression) => {
            let (base, offset, added) = dereferenced(section, expression)?;
            Rule::dereferenced(base, offset, added, saved)
        }
    }
}

fn base_of(register: Register) -> Option<Base> {
    match register {
        X86_64::RSP => Some(Base::StackPointer),
        X86_64::RBP => Some(Base::FramePointer),
        _ => None,
    }
}

/// An expression that is a register and an offset.
fn address_of(section: &Section<'_>, expression: UnwindExpression<usize>) -> Option<(Base, i64)> {
    let operations = operations(section, expression)?;
    match operations.as_slice() {
        [
            Operation::RegisterOffset {
                register, offset, ..
            },
        ] => Some((base_of(*register)?, *offset)),
        _ => None,
    }
}

/// An expression that reads the word at a register and an offset, and may add to it: what compilers
/// write for functions that align their stack, and `OpenSSL` for its own.
fn dereferenced(
    section: &Section<'_>,
    expression: UnwindExpression<usize>,
) -> Option<(Base, i64, i64)> {
    let operations = operations(section, expression)?;
    let (first, rest) = operations.split_first()?;
    let Operation::RegisterOffset {
        register, offset, ..
    } = *first
    else {
        return None;
    };
    let added = match rest {
        [Operation::Deref { size: 8, .. }] => 0,
        [
            Operation::Deref { size: 8, .. },
            Operation::PlusConstant { value },
        ] => i64::try_from(*value).ok()?,
        _ => return None,
    };
    Some((base_of(register)?, offset, added))
}

fn operations<'object>(
    section: &Section<'object>,
    expression: UnwindExpression<usize>,
) -> Option<Vec<Operation<Bytes<'object>>>> {
    const OPERATION_COUNT_MAX: usize = 4;
    let encoding = gimli::Encoding {
        address_size: 8,
        format: gimli::Format::Dwarf32,
        version: 4,
    };
    let mut iterator = expression.get(section).ok()?.operations(encoding);
    let mut operations = Vec::new();
    while let Some(operation) = iterator.next().ok()? {
        if operations.len() >= OPERATION_COUNT_MAX {
            return None;
        }
        operations.push(operation);
    }
    Some(operations)
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::memory::Address;

    #[test]
    fn the_c_library_has_rules_and_data_has_none() {
        let function = (libc::qsort as *const ()).addr();
        let loaded = Loaded::containing(Address::new(function)).expect("libc");
        let first = rule_at(&loaded, function);
        let plain = Rule::usual(Base::StackPointer, 8, SavedFramePointer::Untouched);
        assert_eq!(Some(first), plain, "before its first instruction");
        assert_eq!(rule_at(&loaded, loaded.start), Rule::UNKNOWN);
    }
}
