"""freetype-py: a bitmap that is looked at after the glyph it was made of."""

import sys
from pathlib import Path

import freetype
import reportlab

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

face = freetype.Face(str(Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"))
face.set_char_size(48 * 64)


def bitmap_of(letter: str) -> freetype.BitmapGlyph:
    """Return the bitmap of a letter, and let go of the glyph."""
    face.load_char(letter, freetype.FT_LOAD_DEFAULT | freetype.FT_LOAD_NO_BITMAP)
    glyph = face.glyph.get_glyph()
    return glyph.to_bitmap(freetype.FT_RENDER_MODE_NORMAL, freetype.Vector(0, 0), True)


for _ in range(ROUNDS):
    left = bitmap_of("A").left
print("done")
