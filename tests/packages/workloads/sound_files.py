"""soundfile: libsndfile through cffi in ABI mode."""

import io
import sys

import numpy as np
import soundfile

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def work() -> object:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.sin(np.arange(4000) / 20), 8000, format="WAV")
    buffer.seek(0)
    data, rate = soundfile.read(buffer)
    buffer.seek(0)
    with soundfile.SoundFile(buffer) as file:
        blocks = sum(1 for _ in file.blocks(blocksize=500))
        name = file.format_info
    flac = io.BytesIO()
    soundfile.write(flac, data, rate, format="FLAC")
    try:
        soundfile.read(io.BytesIO(b"nothing"))
    except soundfile.LibsndfileError as error:
        refused = type(error).__name__
    return rate, len(data), blocks, name, flac.getvalue()[:4], refused


for _ in range(ROUNDS):
    result = work()
print(result)
