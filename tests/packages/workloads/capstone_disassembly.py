"""capstone: a disassembler through ctypes. Instructions with and without details, three options."""

import sys

from capstone import (
    CS_ARCH_ARM,
    CS_ARCH_X86,
    CS_MODE_64,
    CS_MODE_ARM,
    CS_OPT_SYNTAX_ATT,
    Cs,
    CsError,
)

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
X86 = bytes.fromhex("55488b05b8130000e9eabeaddeff2523010000e8dfbeadde74ff")
ARM = bytes.fromhex("866848604d0fe2f4edffffeb04e02de500000000")


def work() -> object:
    detailed = Cs(CS_ARCH_X86, CS_MODE_64)
    detailed.detail = True
    told = []
    for instruction in detailed.disasm(X86, 0x1000):
        read, written = instruction.regs_access()
        names = [instruction.reg_name(register) for register in [*read, *written]]
        told.append((instruction.mnemonic, instruction.op_str, names, len(instruction.operands)))
    lite = list(detailed.disasm_lite(X86, 0x1000))
    unfinished = detailed.disasm(X86, 0x1000)
    next(unfinished)
    unfinished.close()
    detailed.syntax = CS_OPT_SYNTAX_ATT
    att = [instruction.op_str for instruction in detailed.disasm(X86, 0x1000)]
    skipping = Cs(CS_ARCH_ARM, CS_MODE_ARM)
    skipping.skipdata = True
    arm = [instruction.mnemonic for instruction in skipping.disasm(ARM, 0x80001000)]
    try:
        Cs(CS_ARCH_X86, 0x7FFFFFFF)
    except CsError as error:
        refused = str(error)
    return told[:2], len(lite), att[:2], arm, refused


for _ in range(ROUNDS):
    result = work()
print(result)
