"""The command line: `heapledger run`, `heapledger report`, `heapledger doctor`.

Owns the options, the child process of `run` and what is printed.
Promises that the program under `run` has its standard streams, its exit status and every signal as
it would have them without heapledger.
Must never judge: what a finding is and how it reads is the library's business.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from heapledger.cli.arguments import parse
from heapledger.errors import HeapledgerError

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130
"""What a shell makes of SIGINT."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; 2 stands for a mistake in its use."""
    options = parse(list(sys.argv[1:] if arguments is None else arguments))
    try:
        return int(options.command(options))
    except HeapledgerError as error:
        print(f"heapledger: {error}", file=sys.stderr)
        return USAGE_ERROR_STATUS
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
