"""python-mpv: mpv through ctypes, without picture and sound. Threads, callbacks, properties."""

import locale
import sys
import tempfile
import wave
from pathlib import Path

import mpv

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def work(sound: str) -> object:
    told = []
    logged = []
    player = mpv.MPV(
        vo="null",
        ao="null",
        ytdl=False,
        loglevel="error",
        log_handler=lambda *line: logged.append(line),
    )
    player.observe_property("volume", lambda name, value: None)

    @player.event_callback("end-file")
    def ended(event: object) -> None:
        told.append("ended")

    player.play(sound)
    player.wait_for_playback()
    player["volume"] = 50
    told.append(str(player.volume))
    told.append(str(len(player.property_list) > 100))
    player.playlist_append(sound)
    told.append(str(len(player.playlist)))
    player.playlist_clear()
    told.append(player.expand_text("${volume}"))
    try:
        player.command("no-such-command")
    except (SystemError, ValueError) as error:
        told.append(type(error).__name__)
    player.terminate()
    return sorted(told)


locale.setlocale(locale.LC_NUMERIC, "C")
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "sound.wav"
    with wave.open(str(path), "wb") as written:
        written.setparams((1, 2, 8000, 0, "NONE", ""))
        written.writeframes(b"\0\1" * 2400)
    for _ in range(ROUNDS):
        result = work(str(path))
print(result)
