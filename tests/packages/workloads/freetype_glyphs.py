"""freetype-py: FreeType through ctypes. A font from a file and from memory, outlines, bitmaps."""

import sys
from pathlib import Path

import freetype
import reportlab

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
FONT = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"


def work() -> object:
    face = freetype.Face(str(FONT))
    face.set_char_size(48 * 64)
    sizes = []
    for letter in "Az&":
        face.load_char(letter)
        bitmap = face.glyph.bitmap
        sizes.append((bitmap.width, bitmap.rows, sum(bitmap.buffer)))
    face.load_char("S", freetype.FT_LOAD_DEFAULT | freetype.FT_LOAD_NO_BITMAP)
    outline = face.glyph.outline
    moves = []
    outline.decompose(
        moves,
        move_to=lambda point, told: told.append("move"),
        line_to=lambda point, told: told.append("line"),
        conic_to=lambda control, point, told: told.append("conic"),
        cubic_to=lambda one, other, point, told: told.append("cubic"),
    )
    stroker = freetype.Stroker()
    stroker.set(64, freetype.FT_STROKER_LINECAP_ROUND, freetype.FT_STROKER_LINEJOIN_ROUND, 0)
    glyph = face.glyph.get_glyph()
    # Leaks the glyph: `stroke` puts a new one in its place and destroys none.
    glyph.stroke(stroker)
    stroked = glyph.to_bitmap(freetype.FT_RENDER_MODE_NORMAL, 0, True)
    with FONT.open("rb") as file:
        in_memory = freetype.Face(file)
    in_memory.set_pixel_sizes(0, 24)
    in_memory.load_char("q", freetype.FT_LOAD_RENDER | freetype.FT_LOAD_TARGET_MONO)
    try:
        freetype.Face("/nowhere.ttf")
    except freetype.FT_Exception as error:
        refused = type(error).__name__
    kerning = face.get_kerning("A", "V").x
    return sizes, len(moves), stroked.left, in_memory.glyph.bitmap.pitch, refused, kerning


for _ in range(ROUNDS):
    result = work()
print(result)
