"""Policies from the YAML of a resource, and the lines they log."""

import json
import re
from collections.abc import Callable, Iterator

import pytest

from pydapr.observe import logging
from pydapr.policy import reading
from pydapr.policy.resiliency import Resiliency
from pydapr.resources import documents, fields, resiliency

Reader = Callable[..., Resiliency]

_LINE = re.compile(r'^time=\S+ level=(\w+) msg=("(?:[^"\\]|\\.)*"|\S+)', re.MULTILINE)


@pytest.fixture
def read() -> Reader:
    """Policies of resources, each given as the text below `spec`."""

    def make(*specs: str) -> Resiliency:
        found = []
        for number, spec in enumerate(specs):
            document = documents.decode(f"metadata: {{name: r{number}}}\nspec: {spec}".encode())
            assert isinstance(document, dict)
            found.append(resiliency.read(fields.Fields(document, "Resiliency")))
        return reading.load(found)

    return make


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Level and message of each line logged since the last time."""

    def taken() -> list[str]:
        found = []
        for level, text in _LINE.findall(capfd.readouterr().out):
            found.append(f"{level} {json.loads(text) if text.startswith(chr(34)) else text}")
        return found

    return taken


@pytest.fixture
def debug() -> Iterator[None]:
    logging.set_level("debug")
    yield
    logging.set_level("info")
