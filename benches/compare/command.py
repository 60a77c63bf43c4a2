"""The command line: prepare, run each workload under each tool in turn, print the tables."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from compare import table
from compare.environment import HERE, ROOT, Environment, EnvironmentTrouble
from compare.measure import Failure, Run, run
from compare.table import Cell, Results
from compare.tools import PLAIN, TOOLS, Tool
from compare.workloads import WORKLOADS, Workload

_ROUND_COUNT = 5


def main() -> int:
    """Compare, and print."""
    options = _arguments()
    environment = Environment(options.folder.resolve())
    environment.folder.mkdir(parents=True, exist_ok=True)
    try:
        notes = environment.prepare(_packages(options), options.tool)
    except EnvironmentTrouble as trouble:
        print(f"benches/compare: {trouble}", file=sys.stderr)
        return 1
    tools, missing = _present(options.tool, environment)
    results = _run_all(options, environment, tools)
    print(_report(options, environment, results, [tool.name for tool in tools]))
    for sentence in [*notes, *missing, *table.troubles(results)]:
        print(f"* {sentence}")
    return 0


def _packages(options: argparse.Namespace) -> set[str]:
    """Return the packages that the wanted rows and columns need."""
    workloads = {"mix": "numpy", "mix-malloc": "numpy", "training": "lightgbm", "imports": "pandas"}
    wanted = {workloads[name] for name in options.workload if name in workloads}
    if any(name.startswith("memray") for name in options.tool):
        wanted.add("memray")
    return wanted


def _present(names: list[str], environment: Environment) -> tuple[list[Tool], list[str]]:
    """Return the tools that are there, and a sentence for each that is not."""
    present, missing = [PLAIN], []
    for tool in TOOLS[1:]:
        if tool.name in names:
            lacking = tool.missing(environment)
            if lacking is None:
                present.append(tool)
            else:
                missing.append(f"{tool.name} was left out: {lacking}")
    return present, missing


def _run_all(options: argparse.Namespace, environment: Environment, tools: list[Tool]) -> Results:
    results: Results = {}
    for workload in WORKLOADS:
        if workload.name not in options.workload:
            continue
        for round_number in range(options.rounds):
            for tool in tools:
                if tool.suits(workload.name, is_python=workload.is_python):
                    cell = results.setdefault((workload.name, tool.name), Cell())
                    if cell.trouble is None:
                        cell.add(_run_one(options, environment, workload, tool))
            print(f"{workload.name}: round {round_number + 1}", file=sys.stderr, flush=True)
    return results


def _run_one(
    options: argparse.Namespace, environment: Environment, workload: Workload, tool: Tool
) -> Run | Failure:
    captures = environment.folder / "captures"
    start = tool.start(workload.start(environment, quick=options.quick), captures)
    launcher = environment.compile(HERE / "launch.cpp")
    return run(start.command, os.environ | start.variables, captures, launcher)


def _report(
    options: argparse.Namespace, environment: Environment, results: Results, tools: list[str]
) -> str:
    rows = [(workload.name, workload.title) for workload in WORKLOADS]
    starts = [row for row in rows if row[0] == "empty"]
    scripts = [(workload.name, workload.title) for workload in WORKLOADS if workload.is_python]

    def show(title: str, cell: table.Show, rows: list[tuple[str, str]] = rows) -> str:
        return table.table(title, rows, tools, lambda name, tool: cell(results, name, tool))

    versions = ", ".join(
        f"{name} {environment.version(name)}" for name in sorted(_packages(options))
    )
    load = " ".join(f"{number:.1f}" for number in os.getloadavg())
    parts = [
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, load {load}, "
        f"{platform.platform()}, Python {platform.python_version()}, {versions}; "
        f"{options.rounds} rounds: median (least-most)",
        show("processor time, relative to plain", table.ratio),
        show("the same without start-up", table.beyond_start, scripts),
        show("ns per pair", table.said),
        show("ms of processor time added", table.added, starts),
        show("peak memory, MiB", table.peak),
        show("capture, KiB", table.capture),
    ]
    return "\n\n".join(parts) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/compare", description=__doc__)
    workloads, tools = [row.name for row in WORKLOADS], [tool.name for tool in TOOLS[1:]]
    parser.add_argument(
        "--workload", action="append", choices=workloads, help="only this row; may be repeated"
    )
    parser.add_argument(
        "--tool",
        action="append",
        choices=tools,
        help="only this column; may be repeated (default: all but memcheck, which takes an hour)",
    )
    parser.add_argument("--rounds", type=int, default=None, help=f"default: {_ROUND_COUNT}")
    parser.add_argument("--quick", action="store_true", help="little work, one round")
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / "target" / "compare",
        help="where the environment is made (default: target/compare)",
    )
    options = parser.parse_args()
    options.workload = options.workload or workloads
    options.tool = options.tool or [name for name in tools if name != "memcheck"]
    options.rounds = options.rounds or (1 if options.quick else _ROUND_COUNT)
    return options
