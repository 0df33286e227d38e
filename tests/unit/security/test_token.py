"""The token for sentry: where it is looked for, and which validator it is for."""

from pathlib import Path

import pytest

from pydapr.security import token


def test_without_a_token_sentry_chooses() -> None:
    assert token.read({}, in_kubernetes=False) == ("", token.UNKNOWN)


def test_a_file_that_is_named_is_read(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("secret")
    environ = {"DAPR_SENTRY_TOKEN_FILE": str(path)}
    assert token.read(environ, in_kubernetes=False) == ("secret", token.JWKS)
    assert token.read(environ, in_kubernetes=True) == ("secret", token.KUBERNETES)
    path.write_text("")
    with pytest.raises(ValueError, match="is empty"):
        token.read(environ, in_kubernetes=False)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        token.read(environ, in_kubernetes=False)
    with pytest.raises(ValueError, match="set with an empty value"):
        token.read({"DAPR_SENTRY_TOKEN_FILE": ""}, in_kubernetes=False)


def test_in_kubernetes_the_projected_token_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    projected, account = tmp_path / "projected", tmp_path / "account"
    monkeypatch.setattr(token, "PROJECTED", str(projected))
    monkeypatch.setattr(token, "SERVICE_ACCOUNT", str(account))
    assert token.read({}, in_kubernetes=True) == ("", token.UNKNOWN)
    account.write_text("older")
    assert token.read({}, in_kubernetes=True) == ("older", token.KUBERNETES)
    projected.write_text("newer")
    assert token.read({}, in_kubernetes=True) == ("newer", token.KUBERNETES)
    assert token.read({}, in_kubernetes=False) == ("", token.UNKNOWN)
