"""What the profile port shows (`--enable-profiling`): where the sidecar's time and memory are.

The paths are those of Go's pprof, which the original serves; what they show is Python's.
"""

import asyncio
import io
import sys
import traceback
from urllib.parse import parse_qs

from pydapr.net.exchange import Exchange

_TEXT = ((b"content-type", b"text/plain; charset=utf-8"),)
_INDEX = b"""\
/debug/pprof/goroutine           what each task is waiting for
/debug/pprof/profile?seconds=10  where the time of the next seconds goes, by function
/debug/pprof/heap?seconds=10     what the next seconds allocate and keep, by line
"""
_MAX_SECONDS = 60.0


async def serve(exchange: Exchange) -> None:
    """Answers a request to the profile port."""
    path, _, query = exchange.target.partition(b"?")
    if path.rstrip(b"/") == b"/debug/pprof":
        exchange.respond(200, _TEXT, _INDEX)
    elif path == b"/debug/pprof/goroutine":
        exchange.respond(200, _TEXT, _tasks().encode())
    elif path == b"/debug/pprof/profile":
        exchange.respond(200, _TEXT, (await _profile(_seconds(query))).encode())
    elif path == b"/debug/pprof/heap":
        exchange.respond(200, _TEXT, (await _heap(_seconds(query))).encode())
    else:
        exchange.respond(404, _TEXT, b"404 page not found\n")


def _seconds(query: bytes) -> float:
    text = parse_qs(query.decode("latin-1")).get("seconds", ["10"])[0]
    try:
        return min(float(text), _MAX_SECONDS)
    except ValueError:
        return 10.0


def _tasks() -> str:
    out = io.StringIO()
    for task in asyncio.all_tasks():
        task.print_stack(file=out)
    for frame in sys._current_frames().values():
        out.writelines(traceback.format_stack(frame))
    return out.getvalue()


async def _profile(seconds: float) -> str:
    import cProfile
    import pstats

    profile = cProfile.Profile()
    try:
        profile.enable()
    except ValueError:
        return "another profile is being taken\n"
    try:
        await asyncio.sleep(seconds)
    finally:
        profile.disable()
    out = io.StringIO()
    pstats.Stats(profile, stream=out).sort_stats("tottime").print_stats(80)
    return out.getvalue()


async def _heap(seconds: float) -> str:
    import tracemalloc

    if tracemalloc.is_tracing():
        return "another heap profile is being taken\n"
    tracemalloc.start()
    try:
        await asyncio.sleep(seconds)
        found = tracemalloc.take_snapshot().statistics("lineno")
    finally:
        tracemalloc.stop()
    return "\n".join(str(line) for line in found[:80]) + "\n"
