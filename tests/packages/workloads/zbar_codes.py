"""pyzbar: ZBar through ctypes."""

import sys

from PIL import Image
from pyzbar.pyzbar import decode

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

# Code 39: narrow and wide elements of "*A1*".
PATTERNS = {"*": "100101101101", "A": "110101001011", "1": "110100101011"}


def picture(text: str) -> Image.Image:
    bars = "0".join(PATTERNS[letter] for letter in f"*{text}*")
    image = Image.new("L", (len(bars) * 2 + 60, 60), 255)
    for place, bar in enumerate(bars):
        if bar == "1":
            for x in (0, 1):
                for y in range(60):
                    image.putpixel((30 + place * 2 + x, y), 0)
    return image


def work() -> object:
    return [(found.type, found.data) for found in decode(picture("A1"))]


for _ in range(ROUNDS):
    result = work()
print(result)
