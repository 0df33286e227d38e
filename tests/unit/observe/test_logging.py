"""The log's lines; the vectors are lines of the original daprd v1.18.3, only the time is another."""

import json
import logging as stdlib_logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pydapr.observe import logging

Read = Callable[[], list[str]]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "log"
    logging.configure()


@pytest.fixture
def read(file: Path) -> Read:
    """The lines written so far, with the time cut out."""

    def lines() -> list[str]:
        return [re.sub(r'("?time"?[=:])"[^"]*"', r"\1T", line) for line in file.read_text().splitlines()]

    return lines


@pytest.fixture
def adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own logging writes our lines, until the end of the test."""
    for place, name in ((sys, "excepthook"), (sys, "unraisablehook"), (warnings, "showwarning")):
        monkeypatch.setattr(place, name, getattr(place, name))
    root = stdlib_logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(logging._output, "on_level", None)
    logging.adopt_stdlib()


def test_text_lines_are_as_the_originals(file: Path, read: Read) -> None:
    log = logging.get("dapr.contrib")
    logging.configure("my<app", file=str(file), instance="vm")
    log.info("local service entry announced: my<app -> 192.0.2.2:53427", component="nr (mdns/v1)")
    logging.get("dapr.runtime.http-info").info(
        "HTTP API Called", code=500, duration=0, method="GET /v1.0/state/a b/c", size=248, useragent='c"u<rl'
    )
    assert read() == [
        'time=T level=info msg="local service entry announced: my<app -> 192.0.2.2:53427" app_id="my<app" '
        'component="nr (mdns/v1)" instance=vm scope=dapr.contrib type=log ver=unknown',
        'time=T level=info msg="HTTP API Called" app_id="my<app" code=500 duration=0 instance=vm '
        'method="GET /v1.0/state/a b/c" scope=dapr.runtime.http-info size=248 type=log '
        'useragent="c\\"u<rl" ver=unknown',
    ]


def test_json_lines_are_as_the_originals(file: Path, read: Read) -> None:
    logging.configure("my<app", as_json=True, file=str(file), instance="vm")
    log = logging.get("dapr.runtime.http-info")
    log.info("HTTP API Called", code=500, duration=0, method="GET /v1.0/state/a b/c", size=248, useragent='c"u<rl')
    assert read() == [
        '{"app_id":"my\\u003capp","code":500,"duration":0,"instance":"vm","level":"info",'
        '"method":"GET /v1.0/state/a b/c","msg":"HTTP API Called","scope":"dapr.runtime.http-info","size":248,'
        '"time":T,"type":"log","useragent":"c\\"u\\u003crl","ver":"unknown"}'
    ]


def test_json_lines_can_be_read_back_whatever_they_say(file: Path) -> None:
    logging.configure(as_json=True, file=str(file))
    said = 'a\x00\x1f\n\t"\\<é\u2028\U0001f600'
    logging.get("x").warning(said, ratio=0.5, on=True, none=None)
    line = json.loads(file.read_bytes())
    assert line["msg"] == said
    assert (line["ratio"], line["on"], line["none"], line["level"]) == (0.5, True, None, "warning")


def test_the_time_has_no_trailing_zeros(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logging.configure(file=str(file))
    for nanoseconds in (1_700_000_000_120_000_000, 1_700_000_001_000_000_000):
        monkeypatch.setattr("time.time_ns", lambda fixed=nanoseconds: fixed)
        logging.get("x").info("now")
    times = [line.split('"')[1] for line in file.read_text().splitlines()]
    assert [re.sub(r".*T..:..:", "", time)[:5] for time in times] == ["20.12", times[1][17:22]]
    assert "." not in times[1]


def test_a_field_named_like_one_of_the_logs_own_is_renamed(file: Path, read: Read) -> None:
    logging.configure(file=str(file), instance="vm")
    logging.get("x").error("", time="noon", level=3)
    assert read() == ["time=T level=error fields.level=3 fields.time=noon instance=vm scope=x type=log ver=unknown"]


def test_levels_below_the_configured_one_are_silent_until_it_changes(file: Path, read: Read) -> None:
    log = logging.get("x")
    logging.configure(level="Error", file=str(file))
    log.warning("not this")
    assert not log.is_enabled(logging.WARNING)
    logging.set_level("debug")
    log.debug("this")
    assert [line.split()[2] for line in read()] == ["msg=this"]


def test_lines_of_pythons_own_logging_follow_the_level(file: Path, read: Read, adopted: None) -> None:
    theirs = stdlib_logging.getLogger("some")
    logging.configure(file=str(file))
    theirs.debug("not this")
    logging.set_level("debug")
    theirs.debug("this")
    logging.set_level("info")
    theirs.debug("nor this")
    assert [line.split()[2] for line in read()] == ["msg=this"]


def test_an_unknown_level_and_an_impossible_file_are_refused_in_the_originals_words(file: Path) -> None:
    with pytest.raises(ValueError, match=r"^invalid value for --log-level: loud$"):
        logging.configure(level="loud")
    with pytest.raises(ValueError) as refusal:
        logging.configure(file="/nonexist/x")
    words = 'failed to open log file "/nonexist/x": open /nonexist/x: no such file or directory'
    assert str(refusal.value) == words


def test_a_reader_that_went_away_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(logging._output, "descriptor", writer)
    logging.get("x").info("nobody listens")
    os.close(writer)
    logging.get("x").info("and now there is not even a pipe")


def test_a_scope_has_one_logger() -> None:
    assert logging.get("a.b") is logging.get("a.b")


def test_what_python_reports_appears_as_our_lines(file: Path, read: Read, adopted: None) -> None:
    logging.configure(file=str(file), instance="vm")
    stdlib_logging.getLogger("asyncio").error("lost %s", "task")
    sys.excepthook(KeyError, KeyError("k"), None)
    assert read()[0] == (
        'time=T level=error msg="lost task" instance=vm scope=dapr.python.asyncio type=log ver=unknown'
    )
    assert "level=error msg=\"KeyError: 'k'\"" in read()[1]
