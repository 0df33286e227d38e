"""For all tests: which form of `wire` and `net` they run on, and that it is the present one."""

import hashlib
import tomllib
from pathlib import Path

import pytest

from pydapr.lib import compiled
from pydapr.wire import http2

ROOT = Path(__file__).parent.parent
IS_COMPILED = not (http2.__file__ or "").endswith(".py")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "plain: needs plain Python: patches a constant, or puts something else in the place of a class"
    )
    if IS_COMPILED and _digest() != Path(compiled.FOLDER, "sources").read_text():
        pytest.exit("the compiled modules are not those of the source: scripts/install, or PYDAPR_PURE=1", 3)


def pytest_report_header() -> str:
    return f"pydapr: {'compiled' if IS_COMPILED else 'plain'} wire and net"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if IS_COMPILED and item.get_closest_marker("plain"):
        pytest.skip("needs plain Python: PYDAPR_PURE=1")


def _digest() -> str:
    with open(ROOT / "pyproject.toml", "rb") as file:
        hook = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    total = hashlib.sha256()
    for path in sorted({path for pattern in hook["modules"] for path in (ROOT / "src").glob(pattern)}):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()
