"""libclang: parses C++ from memory and walks the tree."""

import sys

from clang import cindex

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5

SOURCE = """
namespace n { struct S { int a; double b(int x) const; }; }
/** Adds. */ int add(int x, int y) { return x + y + undeclared; }
"""


def work() -> object:
    index = cindex.Index.create()
    unit = index.parse("a.cpp", args=["-std=c++17"], unsaved_files=[("a.cpp", SOURCE)])
    names = [(c.kind.name, c.spelling) for c in unit.cursor.walk_preorder() if c.spelling]
    tokens = sum(1 for _ in unit.get_tokens(extent=unit.cursor.extent))
    errors = [d.spelling for d in unit.diagnostics]
    types = [c.type.spelling for c in unit.cursor.walk_preorder() if c.kind.name == "FUNCTION_DECL"]
    usr = [c.get_usr() for c in unit.cursor.get_children()]
    return names[:3], tokens, errors, types, len(usr)


for _ in range(ROUNDS):
    result = work()
print(result)
