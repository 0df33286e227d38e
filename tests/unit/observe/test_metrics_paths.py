"""The path label of HTTP metrics; expectations are the original's (v1.18.3)."""

import pytest

from pydapr.observe.metrics_paths import BadPattern, Labels


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/v1.0/state/store/key", "/v1.0/state/store"),
        ("/v1.0/secrets/vault/name", "/v1.0/secrets/vault"),
        ("/v1.0/actors/Type/7/method/m", "/v1.0/actors/Type/{id}/method"),
        ("/v1.0/actors/Type/7", "/v1.0/actors/Type/7"),
        ("/v1.0/workflows/dapr/7", "/v1.0/workflows/dapr/{instanceId}"),
        ("/v1.0/workflows/dapr/Name/start", "/v1.0/workflows/dapr/Name/start"),
        ("/v1.0/workflows/dapr/7/pause", "/v1.0/workflows/dapr/{instanceId}/pause"),
        ("/v1.0/workflows/dapr/7/raiseEvent/e", "/v1.0/workflows/dapr/{instanceId}/raiseEvent/{eventName}"),
        ("/v1.0/invoke/b/method/../x", "/v1.0/invoke/b/method/../x"),
        ("//v1.0//invoke/http://h/method/x", "/v1.0/invoke/http:/h/method/x"),
        ("/v1.0/healthz", "/v1.0/healthz"),
        ("/", "/"),
    ],
)
def test_increased_cardinality_takes_out_what_varies_in_the_api(path: str, label: str) -> None:
    assert Labels(True, ()).of_request(path) == label


def test_low_cardinality_shows_no_path() -> None:
    labels = Labels(False, ())

    assert labels.of_request("/v1.0/invoke/b/method/x") == labels.of_call("/x") == ""


@pytest.mark.parametrize("path", ["/dapr/config", "/dapr/metrics", "/dapr/subscribe", "/healthz"])
def test_paths_that_dapr_itself_calls_are_always_shown(path: str) -> None:
    assert Labels(False, ()).of_call(path) == path


PATTERNS = ("/orders/{id}", "/orders/special", "/files/{rest...}", "/tree/", "/end/{$}", "/shops/{name}/", "basket")


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/orders/7", "/orders/{id}"),
        ("/orders/special", "/orders/special"),
        ("/orders/7/8", ""),
        ("/orders/", ""),
        ("/files/a/b", "/files/{rest...}"),
        ("/tree/a/b", "/tree/"),
        ("/tree", "/tree/"),
        ("/shops/7", "/shops/{name}/"),
        ("/orders/7/.", "/orders/{id}"),
        ("/end/", "/end/{$}"),
        ("/end/x", ""),
        ("/basket", "/basket"),
        ("//basket", "/basket"),
        ("/nothing", ""),
        ("", ""),
    ],
)
def test_patterns_match_as_in_servemux(path: str, label: str) -> None:
    assert Labels(False, PATTERNS).of_call(path) == label


@pytest.mark.parametrize("is_increased", [True, False])
def test_patterns_hold_for_invocations_too(is_increased: bool) -> None:
    label = Labels(is_increased, PATTERNS).of_request("/v1.0/invoke/b/method/orders/7")

    assert label == "/v1.0/invoke/{app_id}/method/orders/{id}"


def test_with_increased_cardinality_other_paths_stay() -> None:
    labels = Labels(True, PATTERNS)

    assert labels.of_request("/v1.0/invoke/b/method/x") == "/v1.0/invoke/b/method/x"
    assert labels.of_request("/v1.0/state/store/key") == "/v1.0/state/store"


def test_a_pattern_for_all_takes_what_is_left() -> None:
    assert Labels(False, ("/a", "/")).of_call("/nothing/like/it") == "/"


def test_a_pattern_may_name_a_path_of_the_api() -> None:
    labels = Labels(False, ("/v1.0/state/store/{key}", "/v1.0/actors/T/{id}/method"))

    assert labels.of_request("/v1.0/state/store/7") == "/v1.0/state/store/{key}"
    assert labels.of_request("/v1.0/actors/T/7/method/m") == "/v1.0/actors/T/{id}/method"


@pytest.mark.parametrize("pattern", ["/a{b}", "/{}", "/{a b}", "/{x...}/y", "/{$}/y"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        Labels(True, (pattern,))
