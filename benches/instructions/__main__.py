"""Run the count: `python benches/instructions [--by] [CASE...]`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from instructions.command import main

sys.exit(main())
