"""Components whose secrets change: when the one that is replaced is closed, and when it is not."""

import asyncio
import contextlib
import importlib
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pydapr.components.pubsub import Message, PubSub
from pydapr.components.secretstores import local_file
from pydapr.daprd import components, opening, reopening
from pydapr.resources.component import Component
from pydapr.resources.fields import NameValue, SecretKeyRef

BROKER = '''
"""pubsub.turns hangs or fails where its secret says so."""

import asyncio

from pydapr.components import component, option, options
from pydapr.components.pubsub import PubSub, Subscription

made = []


@options
class Options:
    way: str = option("What it does.")


class Topic(Subscription):
    def __init__(self, broker):
        self.broker = broker

    async def close(self):
        self.broker.topics.remove(self)


@component("pubsub.turns", Options)
class Turns(PubSub):
    def __init__(self, options):
        self.way, self.topics, self.is_closed = options.way, [], False
        made.append(self)

    async def open(self):
        if self.way == "broken":
            raise RuntimeError(f"not with {self.way}")

    async def close(self):
        self.is_closed = True

    async def publish(self, message): ...

    async def subscribe(self, topic, metadata, handler):
        if self.way == "hanging":
            await asyncio.Event().wait()
        self.topics.append(Topic(self))
        return self.topics[-1]
'''


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Turning:
    """A broker that is open, and the file with its secret."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.opened = components.Opened()

    def write(self, way: str) -> None:
        new = self._folder / "new.json"
        new.write_text(json.dumps({"way": way}))
        os.replace(new, self._folder / "secrets.json")

    @property
    def made(self) -> list[Any]:
        made: list[Any] = importlib.import_module("pydapr_components.pubsub_turns").made
        return made

    @property
    def face(self) -> PubSub:
        part = self.opened.parts["broker"][1]
        assert isinstance(part, PubSub)
        return part


@pytest.fixture
async def turning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Turning]:
    (tmp_path / "pubsub_turns.py").write_text(BROKER)
    monkeypatch.setattr(local_file, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(reopening, "REST_SECONDS", 0.2)
    made = Turning(tmp_path)
    made.write("first")
    around = components.Surroundings("shop", "production", {"DAPR_COMPONENTS_FOLDER": str(tmp_path)})
    secrets = (NameValue("secretsFile", str(tmp_path / "secrets.json")),)
    by_secret = (NameValue("way", secret_key_ref=SecretKeyRef("way", "way")),)
    async with contextlib.AsyncExitStack() as stack:
        await opening.Opening(around, (), made.opened, stack).open_all(
            (
                Component("secrets", type="secretstores.local.file", version="v1", metadata=secrets),
                Component("broker", type="pubsub.turns", version="v1", metadata=by_secret, secret_store="secrets"),
            )
        )
        yield made
    assert all(one.is_closed for one in made.made), "whatever was opened is closed at the end"


async def take(message: Message) -> None: ...


async def test_a_component_is_closed_when_its_subscriptions_have_gone_over(turning: Turning) -> None:
    await turning.face.subscribe("t", {}, take)

    turning.write("second one")

    await until(lambda: turning.made[0].is_closed)
    assert len(turning.made) == 2
    assert not turning.made[0].topics and turning.made[1].topics


async def test_a_component_stays_until_its_subscriptions_can_go_over(
    turning: Turning, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []

    def is_told() -> bool:
        told.append(capfd.readouterr().out)
        return "goes on beside the new one" in "".join(told)

    await turning.face.subscribe("t", {}, take)

    turning.write("hanging")

    await until(is_told)
    first, second = turning.made
    assert first.topics and not first.is_closed

    turning.write("third one")

    await until(lambda: first.is_closed and second.is_closed)
    assert not first.topics and turning.made[2].topics


async def test_one_that_does_not_open_is_closed_and_the_next_change_is_heeded(turning: Turning) -> None:
    turning.write("broken")
    await until(lambda: len(turning.made) == 2 and turning.made[1].is_closed)
    assert not turning.made[0].is_closed

    turning.write("mended")

    await until(lambda: turning.made[0].is_closed)
    assert not turning.made[2].is_closed
