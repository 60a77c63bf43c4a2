"""The command line: `heapledger run`, `heapledger report`, `heapledger doctor`.

Owns the options, the child process of `run` and what is printed.
Promises that the program under `run` has its standard streams, its exit status and every signal as
it would have them without heapledger.
Must never judge: what a finding is and how it reads is the library's business.

The program waits for every import that `run` makes, so it makes few: the library, argparse and all
that works with saved reports only where they are needed.
"""

from __future__ import annotations

import sys

from heapledger.cli.asked import plainly_asked
from heapledger.errors import HeapledgerError

# Not from `typing`: the command line does without its import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

USAGE_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130
"""What a shell makes of SIGINT."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; 2 stands for a mistake in its use."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options: Any = plainly_asked(words)
    if options is None:
        from heapledger.cli.arguments import parse

        options = parse(words)
    try:
        return _carried_out(options)
    except HeapledgerError as error:
        print(f"heapledger: {error}", file=sys.stderr)
        return USAGE_ERROR_STATUS
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS


def _carried_out(options: Any) -> int:  # noqa: ANN401 - what argparse gives
    command = getattr(options, "command", "run")
    if command == "run":
        from heapledger.cli.run import run

        return run(options)
    if command == "report":
        from heapledger.cli.report import report

        return report(options)
    from heapledger.cli.doctor import doctor

    return doctor(options)
