"""python-vlc: VLC through ctypes, with hundreds of plugins. Media, tracks, a player, its events."""

import os
import sys
import tempfile
import threading
import wave
from pathlib import Path

os.environ["VLC_VERBOSE"] = "-1"

import vlc

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def work(sound: str) -> object:
    instance = vlc.Instance("--quiet", "--aout=dummy", "--vout=dummy", "--no-xlib")
    media = instance.media_new(sound)
    parsed = threading.Event()
    media.event_manager().event_attach(vlc.EventType.MediaParsedChanged, lambda event: parsed.set())
    media.parse_with_options(vlc.MediaParseFlag.local, 5000)
    parsed.wait(10)
    # Leaks the list of tracks: nothing calls libvlc_media_tracks_release.
    told = [media.get_duration(), media.get_meta(vlc.Meta.Title), len(list(media.tracks_get()))]
    player = instance.media_player_new()
    player.set_media(media)
    ended = threading.Event()
    player.event_manager().event_attach(
        vlc.EventType.MediaPlayerEndReached, lambda event: ended.set()
    )
    player.play()
    told.append(ended.wait(10))
    player.stop()
    # Leaks two media: the list has references of its own, and nothing releases the wrapper's.
    several = instance.media_list_new([sound, sound])
    told.append(several.count())
    for owned in (several, player, media, instance):
        owned.release()
    return told


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "sound.wav"
    with wave.open(str(path), "wb") as written:
        written.setparams((1, 2, 8000, 0, "NONE", ""))
        written.writeframes(b"\0\1" * 2400)
    for _ in range(ROUNDS):
        result = work(str(path))
print(result)
