"""Status lines."""

import json
import subprocess
import sys

import pytest

from pydapr.cli import status


def test_lines_carry_their_glyph(capfd: pytest.CaptureFixture[str]) -> None:
    status.success("a")
    status.info("b")
    status.warning("c")
    status.failure("d")

    assert capfd.readouterr() == ("✅  a\nℹ️  b\n⚠  c\n", "❌  d\n")  # noqa: RUF001


def test_lines_can_be_json() -> None:
    program = "from pydapr.cli import status; status.use_json(); status.info('x \"y\"')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    line = json.loads(done.stdout)
    assert list(line) == ["time", "status", "msg"]
    assert (line["status"], line["msg"]) == ("info", 'x "y"')


def test_a_reader_that_has_gone_is_told_by_the_answer() -> None:
    import os

    reader, writer = os.pipe()
    os.close(reader)

    assert not status.write(writer, b"x")
    os.close(writer)
