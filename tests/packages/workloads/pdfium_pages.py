"""pypdfium2: PDFium (a static C++ library with PartitionAlloc) through ctypes."""

import io
import sys

import pypdfium2 as pdfium

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def made() -> bytes:
    document = pdfium.PdfDocument.new()
    for number in range(3):
        document.new_page(200 + number, 300)
    buffer = io.BytesIO()
    document.save(buffer)
    document.close()
    return buffer.getvalue()


def work() -> object:
    document = pdfium.PdfDocument(made())
    sizes = []
    for page in document:
        bitmap = page.render(scale=0.5)
        array = bitmap.to_numpy()
        text = page.get_textpage()
        sizes.append((page.get_size(), array.shape, int(array.sum()) % 1000, text.count_chars()))
        text.close()
        bitmap.close()
        page.close()
    metadata = document.get_metadata_dict()
    document.close()
    try:
        pdfium.PdfDocument(b"not a document")
    except pdfium.PdfiumError as error:
        refused = type(error).__name__
    return sizes, sorted(metadata)[:2], refused


for _ in range(ROUNDS):
    result = work()
print(result)
