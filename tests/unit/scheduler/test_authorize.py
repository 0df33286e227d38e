"""Who may speak for an app."""

from types import SimpleNamespace
from typing import Any

import pytest

from pydapr.errors import Code, RpcError
from pydapr.observe.metrics import Count
from pydapr.scheduler import authorize


def check(identity: str, namespace: str = "ns", app_id: str = "app", with_tls: bool = True) -> str:
    """The status and the words of the refusal, empty for none; each refusal is counted."""
    refused = Count()
    exchange: Any = SimpleNamespace(peer_identity=identity)
    try:
        authorize.Authorizer(with_tls, refused).check(exchange, namespace, app_id)
    except RpcError as error:
        assert refused.value == 1
        return f"{Code(error.code).name} {error.message}"
    assert refused.value == 0
    return ""


def test_everybody_where_there_is_no_mtls() -> None:
    assert check("", with_tls=False) == ""


@pytest.mark.parametrize(("namespace", "app_id"), [("", "app"), ("ns", ""), ("", "")])
def test_it_has_to_be_said_for_whom(namespace: str, app_id: str) -> None:
    assert check("", namespace, app_id, with_tls=False) == "INVALID_ARGUMENT missing namespace or appID in request"


def test_the_app_itself() -> None:
    assert check("spiffe://public/ns/ns/app") == ""


@pytest.mark.parametrize("identity", ["spiffe://public/ns/other/app", "spiffe://public/ns/ns/other"])
def test_nobody_else(identity: str) -> None:
    assert check(identity) == "PERMISSION_DENIED identity does not match request"


@pytest.mark.parametrize("identity", ["", "no URI", "spiffe://public/app", "https://public/ns/ns/app"])
def test_nobody_without_an_identity(identity: str) -> None:
    assert check(identity) == "UNAUTHENTICATED failed to get identity from context"
