"""WeasyPrint: Pango and fontconfig in cffi's ABI mode, a configuration for each document."""

import gc
import sys

from weasyprint.text.fonts import FontConfiguration

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

for _ in range(ROUNDS):
    configuration = FontConfiguration()
    del configuration
    gc.collect()
print("done")
