"""For all tests: which form of the core they run on, plain or compiled, and that it is the present one."""

import sys
from pathlib import Path

import pytest
from tests import core

from pydapr.lib import compiled
from pydapr.wire import http2

IS_COMPILED = not (http2.__file__ or "").endswith(".py")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "plain: patches what is fixed in compiled code, a constant or a class")
    if IS_COMPILED and core.digest() != Path(compiled.FOLDER, "sources").read_text():
        pytest.exit("the compiled modules are not those of the source: scripts/test renews them; or PYDAPR_PURE=1", 3)


def pytest_report_header() -> str:
    return f"pydapr: {'compiled' if IS_COMPILED else 'plain'}, Python {sys.version.partition(' ')[0]}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if IS_COMPILED and item.get_closest_marker("plain"):
        pytest.skip("needs plain Python: PYDAPR_PURE=1")
