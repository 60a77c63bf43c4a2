"""`heapledger report FILE`: print a saved report."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from heapledger import reports
from heapledger.cli.files import checked_suppressions
from heapledger.cli.progress import Progress

if TYPE_CHECKING:
    import argparse


def report(options: argparse.Namespace) -> int:
    """Print the report as text or as JSON, suppressions applied."""
    suppressions = checked_suppressions(options.suppressions)
    saved = reports.loaded(options.file)
    if options.sysroot is not None:
        with Progress("reading symbols") as progress:
            saved = reports.symbolized(saved, options.sysroot, progress.show)
    if options.format == "text":
        text = reports.text_of(saved, suppressions, all_frames=options.all_frames)
    else:
        text = json.dumps(reports.with_suppressions(saved, suppressions), indent=2) + "\n"
    sys.stdout.write(text)
    return 0
