"""cairocffi: Cairo through cffi in ABI mode."""

import io
import sys

import cairocffi as cairo

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def work() -> object:
    surface = cairo.ImageSurface(cairo.FORMAT_ARGB32, 60, 40)
    context = cairo.Context(surface)
    gradient = cairo.LinearGradient(0, 0, 60, 40)
    gradient.add_color_stop_rgb(0, 1, 0, 0)
    gradient.add_color_stop_rgb(1, 0, 0, 1)
    context.set_source(gradient)
    context.rectangle(5, 5, 30, 20)
    context.fill_preserve()
    path = len(context.copy_path())
    with context:
        context.set_line_width(3)
        context.stroke()
    dashes = context.get_dash()
    buffer = io.BytesIO()
    surface.write_to_png(buffer)
    again = cairo.ImageSurface.create_from_png(io.BytesIO(buffer.getvalue()))
    out = io.BytesIO()
    pdf = cairo.PDFSurface(out, 100, 100)
    cairo.Context(pdf).paint()
    pdf.finish()
    return path, dashes, again.get_width(), out.getvalue()[:4], sum(bytes(surface.get_data())) > 0


for _ in range(ROUNDS):
    result = work()
print(result)
