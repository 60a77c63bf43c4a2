"""llvmlite: LLVM through ctypes. Parses, optimises, compiles and calls a function."""

import contextlib
import ctypes
import sys

import llvmlite.binding as llvm
from llvmlite import ir

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

with contextlib.suppress(RuntimeError):  # later versions need no call
    llvm.initialize()
llvm.initialize_native_target()
llvm.initialize_native_asmprinter()


def text(number: int) -> str:
    module = ir.Module(name=f"m{number}")
    i64 = ir.IntType(64)
    function = ir.Function(module, ir.FunctionType(i64, (i64, i64)), name="f")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    product = builder.mul(function.args[0], function.args[1])
    builder.ret(builder.add(product, ir.Constant(i64, number)))
    return str(module)


def work(number: int) -> object:
    module = llvm.parse_assembly(text(number))
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(
        engine.get_function_address("f")
    )
    value = function(6, 7)
    size = len(machine.emit_assembly(module)) > 0
    names = [f.name for f in module.functions]
    bitcode = len(module.as_bitcode()) > 0
    try:
        llvm.parse_assembly("not assembly")
    except RuntimeError as error:
        refused = type(error).__name__
    return value, size, names, bitcode, refused


for _ in range(ROUNDS):
    result = work(1)
print(result)
