"""Which APIs the rules of a Configuration leave open."""

import pytest

from pydapr.api import access

STATE = [("state", "v1", "http")]


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/v1.0/metadata", ("metadata", "v1")),
        ("/v1.0/metadata/*", ("metadata", "v1")),
        ("/v1.0-alpha1/state/{store}/query", ("state", "v1alpha1")),
        ("/v1.0-beta1/workflows/x", ("workflows", "v1beta1")),
        ("/v1.0-alpha2/conversation/x/converse", ("conversation", "v1alpha2")),
        ("/", ("", "")),
    ],
)
def test_group_of_a_route_is_in_its_path(path: str, group: tuple[str, str]) -> None:
    assert access.group(path) == group


def test_without_rules_everything_is_open() -> None:
    assert access.http((), ())("/v1.0/metadata")
    assert access.grpc((), ())("/dapr.proto.runtime.v1.Dapr/GetState")


def test_allowed_rule_closes_everything_else_but_health() -> None:
    is_open = access.http(STATE, ())

    assert is_open("/v1.0/state/*")
    assert is_open("/v1.0/healthz/outbound")
    assert not is_open("/v1.0-alpha1/state/*/query")
    assert not is_open("/v1.0/invoke/*")


def test_denied_rule_wins_over_allowed() -> None:
    is_open = access.http(STATE, STATE)

    assert not is_open("/v1.0/state/*")


def test_older_form_names_the_beginning_of_the_path() -> None:
    is_open = access.http((), [("metadata", "v1.0", "HTTP")])

    assert not is_open("/v1.0/metadata")
    assert not is_open("/v1.0/metadata/*")
    assert is_open("/v1.0/shutdown")


def test_rules_concern_their_own_protocol_only() -> None:
    rules = [("metadata", "v1", "grpc")]

    assert access.http(rules, ())("/v1.0/shutdown")
    assert not access.grpc((), rules)("/dapr.proto.runtime.v1.Dapr/GetMetadata")
    assert access.grpc((), rules)("/dapr.proto.runtime.v1.Dapr/GetState")


def test_methods_of_apps_are_never_closed() -> None:
    assert access.grpc([("state", "v1", "grpc")], ())("/helloworld.Greeter/SayHello")


def test_misspelt_allowed_rule_opens_nothing() -> None:
    assert not access.grpc([("sate", "v1", "grpc")], ())("/dapr.proto.runtime.v1.Dapr/GetState")
    assert not access.http([("sate", "v1", "http")], ())("/v1.0/state/*")
