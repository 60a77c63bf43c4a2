"""PySDL2: SDL through ctypes, without a screen. A window, surfaces, sound, events, a timer."""

import ctypes
import os
import sys

os.environ.update(SDL_VIDEODRIVER="dummy", SDL_AUDIODRIVER="dummy")

import sdl2
import sdl2.ext

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def drawn() -> object:
    window = sdl2.ext.Window("a title", size=(64, 48))
    window.show()
    renderer = sdl2.ext.Renderer(window, flags=sdl2.SDL_RENDERER_SOFTWARE)
    renderer.clear((10, 20, 30))
    renderer.draw_line((0, 0, 10, 10), (255, 255, 255))
    surface = sdl2.SDL_CreateRGBSurfaceWithFormat(0, 16, 16, 32, sdl2.SDL_PIXELFORMAT_RGBA8888)
    sdl2.SDL_FillRect(surface, None, 0x11223344)
    texture = sdl2.ext.renderer.Texture(renderer, surface)
    renderer.copy(texture, dstrect=(0, 0, 16, 16))
    renderer.present()
    memory = ctypes.create_string_buffer(4096)
    saved = sdl2.SDL_SaveBMP_RW(surface, sdl2.SDL_RWFromMem(memory, 4096), 1)
    sdl2.SDL_FreeSurface(surface)
    texture.destroy()
    renderer.destroy()
    window.close()
    return saved, memory.raw[:2]


def played() -> object:
    wanted = sdl2.SDL_AudioSpec(22050, sdl2.AUDIO_S16SYS, 1, 512)
    sdl2.SDL_InitSubSystem(sdl2.SDL_INIT_AUDIO)
    device = sdl2.SDL_OpenAudioDevice(None, 0, wanted, None, 0)
    queued = sdl2.SDL_QueueAudio(device, ctypes.create_string_buffer(2048), 2048)
    sdl2.SDL_CloseAudioDevice(device)
    sdl2.SDL_QuitSubSystem(sdl2.SDL_INIT_AUDIO)
    return device > 0, queued


def work() -> object:
    sdl2.ext.init()
    told = [drawn(), played()]
    event = sdl2.SDL_Event()
    event.type = sdl2.SDL_USEREVENT
    sdl2.SDL_PushEvent(event)
    told.append(sum(event.type == sdl2.SDL_USEREVENT for event in sdl2.ext.get_events()))
    sdl2.SDL_SetClipboardText(b"clip")
    # Leaks the text: it is the caller's to free, and comes as bytes.
    told.append(sdl2.SDL_GetClipboardText())
    fired = []
    once = sdl2.SDL_TimerCallback(lambda interval, parameter: fired.append(interval) or 0)
    timer = sdl2.SDL_AddTimer(1, once, None)
    while not fired:
        sdl2.SDL_Delay(1)
    sdl2.SDL_RemoveTimer(timer)
    sdl2.ext.quit()
    return told, fired


for _ in range(ROUNDS):
    result = work()
print(result)
