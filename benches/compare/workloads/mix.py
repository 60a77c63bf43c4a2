"""A mix of what programs do: NumPy, JSON, regular expressions, dictionaries. Argument: rounds."""

import json
import re
import sys

import numpy as np


def main(rounds: int) -> None:
    """Work for a while."""
    words = re.compile(r"(\w+)-(\d+)")
    for round_number in range(rounds):
        array = np.arange(20_000, dtype=np.float64)
        total = float(np.sqrt(array * array + round_number).sum())
        rows = [{"name": f"row-{number}", "value": number * total} for number in range(300)]
        again = json.loads(json.dumps(rows))
        found = [words.fullmatch(row["name"]) for row in again]
        counts: dict[str, int] = {}
        for match in found:
            if match is not None:
                key = match[2][-1]
                counts[key] = counts.get(key, 0) + 1
        text = ",".join(sorted(counts)) * 20
        [part.upper() for part in text.split(",")]


main(int(sys.argv[1]))
