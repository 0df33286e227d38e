"""What a message through `pubsub.sqlite` costs, without sidecars around it: publisher and subscriber in two processes.

    python -m tests.benchmarks.bench_pubsub_sqlite [messages]

First one message every 10 ms: how long after the publisher has its answer the handler begins. Then as many as 64
publishers at once manage: messages a second, and CPU of each side. Then a subscriber that has nothing to do.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from pydapr import components
from pydapr.components.pubsub import Message, PubSub

SIZE = 1024
SINGLE = 500
AT_ONCE = 64
IDLE_SECONDS = 10.0


async def _opened(folder: Path, consumer: str) -> PubSub:
    found = components.find("pubsub.sqlite")
    assert found is not None
    metadata = {"connectionString": str(folder / "pubsub.db"), "consumerID": consumer}
    made = found.make(components.read(found.options, metadata))
    assert isinstance(made, PubSub)
    await made.open()
    return made


def _tell(document: object) -> None:
    print(json.dumps(document), flush=True)


async def subscribe(folder: Path, count: int) -> None:
    """Tells when it is ready, and then when each message came and what all cost."""
    broker = await _opened(folder, "subscriber")
    times: dict[str, float] = {}
    is_done = asyncio.Event()

    async def take(message: Message) -> None:
        times[message.data[:8].decode()] = time.time()
        if len(times) == count:
            is_done.set()

    await broker.subscribe("bench", {}, take)
    _tell("ready")
    began = time.process_time()
    await is_done.wait()
    _tell({"times": times, "cpu": time.process_time() - began})
    began = time.process_time()
    await asyncio.sleep(IDLE_SECONDS)
    _tell({"idle": (time.process_time() - began) / IDLE_SECONDS})
    await broker.close()


async def publish(folder: Path, count: int, at_once: int, pause: float) -> tuple[dict[str, float], float]:
    """When each message was acknowledged, and the CPU of all."""
    broker = await _opened(folder, "publisher")
    times: dict[str, float] = {}
    left = iter(range(count))

    async def run() -> None:
        for number in left:
            name = f"{number:08}"
            await broker.publish(Message("bench", name.encode().ljust(SIZE, b"x")))
            times[name] = time.time()
            if pause:
                await asyncio.sleep(pause)

    began = time.process_time()
    await asyncio.gather(*(run() for _ in range(at_once)))
    cpu = time.process_time() - began
    await broker.close()
    return times, cpu


def measure(count: int, at_once: int, pause: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", __spec__.name, "--subscribe", folder, str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            other.stdout.readline()
            began = time.time()
            published, cpu = uvloop.run(publish(Path(folder), count, at_once, pause))
            told = json.loads(other.stdout.readline())
            idle = json.loads(other.stdout.readline())["idle"]
    came: dict[str, float] = told["times"]
    waits = sorted((came[name] - published[name]) * 1000 for name in published)
    costs = f"CPU {cpu / count * 1e6:.0f} us to publish, {told['cpu'] / count * 1e6:.0f} us to take"
    if pause:
        shown = ", ".join(f"p{share} {waits[len(waits) * share // 100]:.2f}" for share in (50, 95, 99))
        print(f"one every {pause * 1000:.0f} ms: handler begins after the publisher's answer, ms: {shown}; {costs}")
    else:
        published_in, taken_in = max(published.values()) - began, max(came.values()) - began
        print(f"{at_once} publishers: {count / published_in:.0f}/s published, {count / taken_in:.0f}/s taken; {costs}")
    print(f"a subscriber with nothing to do: {idle * 100:.2f}% of a processor")


def main() -> None:
    if sys.argv[1:2] == ["--subscribe"]:
        uvloop.run(subscribe(Path(sys.argv[2]), int(sys.argv[3])))
        return
    measure(SINGLE, 1, 0.01)
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, AT_ONCE, 0.0)


if __name__ == "__main__":
    main()
