"""Where the Dapr home is."""

from pathlib import Path

import pytest

from pydapr.cli import grammar, home


def values() -> grammar.Values:
    return grammar.parse((grammar.Flag("runtime-path", ""),), [])[0]


def test_a_user_without_a_home_has_one_nevertheless(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DAPR_RUNTIME_PATH", raising=False)
    monkeypatch.setattr(Path, "home", unknown)

    assert home.directory(values()) == Path("/.dapr")
