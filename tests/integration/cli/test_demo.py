"""What the README begins with."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_demo_shows_what_the_apps_said_and_ends() -> None:
    told = subprocess.run(
        [ROOT / "scripts" / "demo"], env={**os.environ, "VENV": sys.prefix}, capture_output=True, text=True, timeout=120
    )

    assert told.returncode == 0, told.stderr
    for line in ('"price": 4.2', '"reserved": 2', "order-1 in the state store         -> 200", "-> 404"):
        assert line in told.stdout
    assert told.stdout.count("200 calls, one after the other: p50 ") == 2
