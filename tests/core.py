"""What of the package is compiled (`hatch_build.py`), for the tests that have to know."""

import hashlib
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def sources() -> list[Path]:
    """The files that are compiled where there is a compiler."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        hook = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    return sorted({path for pattern in hook["modules"] for path in (ROOT / "src").glob(pattern)})


def digest() -> str:
    """What the compiled modules are known by, as they are now."""
    total = hashlib.sha256()
    for path in sources():
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()
