//! The state of the thread that a deadly signal interrupted: what it accessed, and where it was.

#![expect(unsafe_code, reason = "reads what the kernel passes to a handler")]

use crate::capture::{EventPlace, LocationId, Registers};
use crate::memory::peek::word_at;
use crate::memory::{Address, FrameAddress};

/// The registers that a program computes with; those that say where it is are apart.
const GENERAL: [i32; 14] = [
    libc::REG_RAX,
    libc::REG_RDI,
    libc::REG_RSI,
    libc::REG_RDX,
    libc::REG_RCX,
    libc::REG_RBX,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// A thread that dies of what it did.
#[derive(Debug)]
pub(super) struct Crash {
    /// The address that could not be accessed, where the kernel says.
    pub(super) address: Option<Address>,
    /// Its general registers, the frame pointer last.
    pub(super) registers: [usize; GENERAL.len() + 1],
    /// Where its stack was.
    pub(super) stack_pointer: usize,
    instruction: usize,
}

impl Crash {
    /// What the kernel passed to a handler with `SA_SIGINFO`.
    ///
    /// # Safety
    /// * Both are what the handler that is running was given.
    pub(super) unsafe fn read(
        info: *const libc::siginfo_t,
        context: *const libc::ucontext_t,
    ) -> Self {
        // SAFETY: the kernel passed it, and it lasts as long as the handler.
        let info = unsafe { &*info };
        // SAFETY: as above.
        let context = unsafe { &*context };
        let is_access = [libc::SIGSEGV, libc::SIGBUS].contains(&info.si_signo);
        // Codes above zero are the kernel's; this one is that of an address no processor has (SI_KERNEL).
        let tells = is_access && info.si_code > 0 && info.si_code != SI_KERNEL;
        // SAFETY: reads one word, which these signals come with.
        let address = unsafe { info.si_addr() }.addr();
        let register = |name: i32| {
            let place = usize::try_from(name).unwrap_or_default();
            let value = context.uc_mcontext.gregs.get(place).copied();
            usize::from_ne_bytes(value.unwrap_or_default().to_ne_bytes())
        };
        let mut registers = [register(libc::REG_RBP); GENERAL.len() + 1];
        for (place, name) in registers.iter_mut().zip(GENERAL) {
            *place = register(name);
        }
        Self {
            address: tells.then(|| Address::new(address)),
            registers,
            stack_pointer: register(libc::REG_RSP),
            instruction: register(libc::REG_RIP),
        }
    }

    /// Where it was, for a report. A thread that jumped to where there is no code was called there: its
    /// caller is the one to name.
    pub(super) fn place(&self) -> EventPlace {
        let jumped = self.address == Some(Address::new(self.instruction));
        let caller = jumped.then(|| word_at(self.stack_pointer)).flatten();
        let (return_address, stack_pointer) = match caller {
            Some(caller) => (caller, self.stack_pointer + size_of::<usize>()),
            // One past the instruction, where a return address would be.
            None => (self.instruction.wrapping_add(1), self.stack_pointer),
        };
        let [.., frame_pointer] = self.registers;
        EventPlace {
            caller: FrameAddress::from_return_address(return_address),
            registers: Registers {
                return_address,
                stack_pointer,
                frame_pointer,
            },
            location: LocationId::NONE,
        }
    }
}

/// The code of a signal for an access to an address that is none, which the processor does not tell.
const SI_KERNEL: i32 = 0x80;
