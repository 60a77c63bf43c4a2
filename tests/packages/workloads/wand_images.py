"""Wand: MagickWand through ctypes."""

import sys

from wand.color import Color
from wand.drawing import Drawing
from wand.image import Image

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def work() -> object:
    with Image(width=64, height=48, background=Color("navy")) as image:
        with Drawing() as draw:
            draw.fill_color = Color("red")
            draw.rectangle(left=4, top=4, right=20, bottom=20)
            draw(image)
        image.resize(32, 24)
        image.format = "png"
        blob = image.make_blob()
        with image.clone() as copy:
            copy.rotate(90)
            copy.gaussian_blur(1, 1)
            turned = copy.size
        pixels = image.export_pixels(0, 0, 2, 2, "RGB", "char")
        histogram = len(image.histogram)
        image.metadata["comment"] = "x"
        names = sorted(image.metadata)[:1]
    with Image(blob=blob) as again:
        size = again.size
        signature = len(again.signature)
        profile = len(again.profiles)
    return turned, pixels[:3], histogram, size, signature, profile, bool(names)


for _ in range(ROUNDS):
    result = work()
print(result)
