"""The command line: a table of instructions per round, or the functions behind one case."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

from instructions.callgrind import CallgrindError
from instructions.cases import CASES, Case

_FUNCTION_COUNT = 25


def main() -> int:
    """Count, and print."""
    options = _arguments()
    wanted = options.cases or [case.name for case in CASES]
    try:
        counted = {name: _case(name, options.options).per_round() for name in wanted}
    except CallgrindError as trouble:
        print(f"benches/instructions: {trouble}")
        return 1
    if options.json:
        print(json.dumps({name: costs.total() / 1_000 for name, costs in counted.items()}))
        return 0
    print("| case | instructions per round |\n|---|---|")
    for name, costs in counted.items():
        print(f"| {name} | {costs.total() / 1_000:.0f} |", flush=True)
        for function, cost in costs.most_common(_FUNCTION_COUNT if options.functions else 0):
            print(f"|     {cost / 1_000:8.1f}  {function} | |")
    return 0


def _case(name: str, more_options: str) -> Case:
    case = next(case for case in CASES if case.name == name)
    if case.options is None or not more_options:
        return case
    return replace(case, options=f"{case.options}:{more_options}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/instructions", description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("cases", nargs="*", choices=[[], *names], metavar="CASE", help=f"{names}")
    parser.add_argument(
        "--options",
        default="",
        help="more of HEAPLEDGER_OPTIONS, for every case that has some",
    )
    parser.add_argument("--functions", action="store_true", help="show where they are executed")
    parser.add_argument("--json", action="store_true", help="print an object: case to count")
    return parser.parse_args()
