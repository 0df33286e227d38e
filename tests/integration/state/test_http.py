"""The state API over HTTP, on stores in memory and in a file: answers, statuses and error codes are the original's."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.harness import Sidecar, World
from tests.integration.state import stores

STORES = ("mem", "lite")


@pytest.fixture(scope="module")
def running(shared_world: World) -> Sidecar:
    resources = (stores.component("mem", "state.in-memory"), stores.sqlite(shared_world))
    return stores.start(shared_world, *resources).await_ready()


@pytest.fixture
def sidecar(running: Sidecar) -> Iterator[Sidecar]:
    yield running
    running.disconnect()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return f"/v1.0/state/{request.param}"


def post(sidecar: Sidecar, target: str, document: Any, *headers: str) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return sidecar.call("POST", target, *headers, body=body)


def save(sidecar: Sidecar, store: str, *requests: dict[str, Any]) -> None:
    assert post(sidecar, store, list(requests)).status == 204


def value(sidecar: Sidecar, store: str, key: str) -> Any:
    reply = sidecar.call("GET", f"{store}/{key}")
    return json.loads(reply.body) if reply.status == 200 else None


# -- what is saved is read --


def test_value_is_given_back_byte_by_byte(sidecar: Sidecar, store: str) -> None:
    body = b'[{"key": "raw", "value": {"b" : 1.0, "a": [12345678901234567890, "\\u00fc<&>"]}}]'
    assert post(sidecar, store, body).status == 204

    reply = sidecar.call("GET", f"{store}/raw")

    assert (reply.status, reply.get("content-type")) == (200, "application/json")
    assert reply.body == b'{"b" : 1.0, "a": [12345678901234567890, "\\u00fc<&>"]}'
    assert reply.get("etag")


def test_put_saves_too_and_what_has_no_value_is_null(sidecar: Sidecar, store: str) -> None:
    assert sidecar.call("PUT", store, body=b'[{"key":"put"}]').status == 204

    assert sidecar.call("GET", f"{store}/put").body == b"null"


def test_nothing_is_no_content(sidecar: Sidecar, store: str) -> None:
    reply = sidecar.call("GET", f"{store}/nothing")

    assert (reply.status, reply.body) == (204, b"")
    assert sidecar.call("DELETE", f"{store}/nothing").status == 204


@pytest.mark.parametrize(
    ("path", "key"),
    [("a%20b", "a b"), ("a+b", "a b"), ("a%2Bb", "a+b"), ("a%2Fb", "a/b"), ("%C3%BC", "ü"), ("%FF", "\ufffd")],
)
def test_key_of_a_path_is_that_of_a_body(sidecar: Sidecar, store: str, path: str, key: str) -> None:
    save(sidecar, store, {"key": key, "value": key})

    assert value(sidecar, store, path) == key
    assert sidecar.call("DELETE", f"{store}/{path}").status == 204
    assert value(sidecar, store, path) is None


@pytest.mark.parametrize(
    "body",
    [b'[{"KEY":"loose","Value":{"x":"y"}}]', b'[{"key":"loose","value":{"x":"y"},"more":1}] behind', b"[]", b"null"],
)
def test_body_is_read_as_go_reads_it(sidecar: Sidecar, store: str, body: bytes) -> None:
    assert post(sidecar, store, body).status == 204
    if b"loose" in body:
        assert value(sidecar, store, "loose") == {"x": "y"}


def test_time_to_live_is_told_and_comes_from_body_or_query(sidecar: Sidecar, store: str) -> None:
    save(sidecar, store, {"key": "ttl1", "value": 1, "metadata": {"ttlInSeconds": "100"}})
    assert post(sidecar, store + "?metadata.ttlInSeconds=100", [{"key": "ttl2", "value": 1}]).status == 204
    save(sidecar, store, {"key": "ttl3", "value": 1})

    told = [sidecar.call("GET", f"{store}/ttl{n}").get("metadata.ttlexpiretime") for n in (1, 2, 3)]

    assert [bool(one) for one in told] == [True, True, False]


# -- etags --


def test_etag_guards_saving_and_deleting(sidecar: Sidecar, store: str) -> None:
    save(sidecar, store, {"key": "e", "value": 1})
    etag = sidecar.call("GET", f"{store}/e").get("etag")
    save(sidecar, store, {"key": "e", "value": 2, "etag": etag})

    late = post(sidecar, store, [{"key": "e", "value": 3, "etag": etag}])
    gone = sidecar.call("DELETE", f"{store}/e", f"If-Match: {etag}")

    assert (late.status, json.loads(late.body)["errorCode"]) == (409, "ERR_STATE_SAVE")
    assert "possible etag mismatch. error from state store" in json.loads(late.body)["message"]
    assert (gone.status, json.loads(gone.body)["errorCode"]) == (409, "ERR_STATE_DELETE")
    assert value(sidecar, store, "e") == 2
    etag = sidecar.call("GET", f"{store}/e").get("etag")
    assert sidecar.call("DELETE", f"{store}/e", f"If-Match: {etag}").status == 204


def test_first_write_is_for_new_keys(sidecar: Sidecar, store: str) -> None:
    first = {"key": "first", "value": 1, "options": {"concurrency": "first-write", "consistency": "strong"}}
    save(sidecar, store, first)

    assert post(sidecar, store, [first]).status == 409


# -- many --


def test_bulk_answers_in_order_with_what_is_there(sidecar: Sidecar, store: str) -> None:
    save(sidecar, store, {"key": "b1", "value": {"x": 1}}, {"key": "b2", "value": "two"})

    reply = post(sidecar, store + "/bulk", {"keys": ["b2", "none", "b1", "b2"], "parallelism": 2})

    items = json.loads(reply.body)
    assert all(item.pop("etag") for item in items if "data" in item)
    assert items == [
        {"key": "b2", "data": "two"},
        {"key": "none"},
        {"key": "b1", "data": {"x": 1}},
        {"key": "b2", "data": "two"},
    ]
    assert post(sidecar, store + "/bulk", {"keys": []}).body == b"[]\n"


def test_transaction_is_all_or_nothing(sidecar: Sidecar, store: str) -> None:
    save(sidecar, store, {"key": "t1", "value": 1}, {"key": "t2", "value": 1})
    done = {
        "operations": [
            {"operation": "upsert", "request": {"key": "t1", "value": {"n": 2}}},
            {"operation": "delete", "request": {"key": "t2"}},
        ]
    }
    failing = {
        "operations": [
            {"operation": "upsert", "request": {"key": "t3", "value": 3}},
            {"operation": "delete", "request": {"key": "t1", "etag": "old"}},
        ]
    }

    assert post(sidecar, store + "/transaction", done).status == 204
    refused = post(sidecar, store + "/transaction", failing)

    assert (refused.status, json.loads(refused.body)["errorCode"]) == (500, "ERR_STATE_TRANSACTION")
    assert [value(sidecar, store, key) for key in ("t1", "t2", "t3")] == [{"n": 2}, None, None]
    assert post(sidecar, store + "/transaction", {}).status == 204


# -- errors --


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "code"),
    [
        ("POST", "", b"", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "", b"{}", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "", b"foobar", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "", b"[{}]", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "", b'[{"key":"k","value":1},]', 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "", b'[{"key":"k","value":NaN}]', 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "", b'[{"key":"k","etag":123}]', 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "", b'[{"key":"k","metadata":{"a":1}}]', 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "", b'[{"key":"a||b","value":1}]', 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "", b'[{"key":"k","value":1,"options":{"concurrency":"odd"}}]', 500, "ERR_STATE_SAVE"),
        ("POST", "", b'[{"key":"k","value":1,"metadata":{"ttlInSeconds":"x"}}]', 500, "ERR_STATE_SAVE"),
        ("GET", "/a||b", None, 400, "ERR_MALFORMED_REQUEST"),
        ("DELETE", "/a%7C%7Cb", None, 400, "ERR_MALFORMED_REQUEST"),
        ("DELETE", "/k?consistency=odd", None, 500, "ERR_STATE_DELETE"),
        ("POST", "/bulk", b"", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "/bulk", b'{"keys":"a"}', 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "/bulk", b'{"keys":["a||b"]}', 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "/transaction", b"[]", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "/transaction", b'{"operations":[{"operation":"odd"}]}', 400, "ERR_NOT_SUPPORTED_STATE_OPERATION"),
        (
            "POST",
            "/transaction",
            b'{"operations":[{"operation":"upsert","request":{"key":"k","etag":1}}]}',
            400,
            "ERR_MALFORMED_REQUEST",
        ),
    ],
)
def test_error_is_answered_as_the_original_does(
    sidecar: Sidecar, store: str, method: str, target: str, body: bytes | None, status: int, code: str
) -> None:
    reply = sidecar.call(method, store + target, body=body)

    told = json.loads(reply.body)
    assert (reply.status, told["errorCode"], reply.get("content-type")) == (status, code, "application/json")
    assert told["message"]


def test_illegal_key_is_explained_in_details(sidecar: Sidecar, store: str) -> None:
    told = json.loads(post(sidecar, store, [{"key": "a||b", "value": 1}]).body)

    text = "api error: code = InvalidArgument desc = input key/keyPrefix 'a||b' can't contain '||'"
    kind = "type.googleapis.com/google.rpc."
    assert told["message"] == text
    assert told["details"] == [
        {"@type": f"{kind}BadRequest", "field_violations": [{"field": "a||b", "description": text}]},
        {
            "@type": f"{kind}ResourceInfo",
            "description": "",
            "owner": "",
            "resource_name": store.rpartition("/")[2],
            "resource_type": "state",
        },
        {"@type": f"{kind}ErrorInfo", "domain": "dapr.io", "metadata": None, "reason": "DAPR_STATE_ILLEGAL_KEY"},
    ]


def test_store_that_is_not_there_is_told_before_the_body_is_read(sidecar: Sidecar) -> None:
    for target in ("nope", "nope/bulk", "nope/transaction"):
        reply = post(sidecar, f"/v1.0/state/{target}", b"")
        told = json.loads(reply.body)
        assert (reply.status, told["errorCode"]) == (400, "ERR_STATE_STORE_NOT_FOUND")
        assert told["details"][0]["metadata"] == {"appID": sidecar.app_id}


def test_without_stores_it_is_said_that_none_is_configured(world: World) -> None:
    sidecar = world.daprd("bare", None).await_ready()

    reply = sidecar.call("GET", "/v1.0/state/any/key")

    assert reply.status == 500
    assert json.loads(reply.body)["errorCode"] == "ERR_STATE_STORE_NOT_CONFIGURED"


# -- query and listing --


def test_store_without_queries_says_so(sidecar: Sidecar) -> None:
    reply = post(sidecar, "/v1.0-alpha1/state/mem/query", {"filter": {}})

    assert (reply.status, json.loads(reply.body)["message"]) == (500, "state store does not support querying")


def test_query_finds_sorts_and_pages(sidecar: Sidecar) -> None:
    people = [("q1", "WA", 3), ("q2", "OR", 1), ("q3", "WA", 2), ("q4", "WA", 1)]
    save(sidecar, "/v1.0/state/lite", *({"key": k, "value": {"state": s, "p": {"id": n}}} for k, s, n in people))
    wanted = {"filter": {"EQ": {"state": "WA"}}, "sort": [{"key": "p.id"}], "page": {"limit": 2}}

    first = json.loads(post(sidecar, "/v1.0-alpha1/state/lite/query", wanted).body)
    wanted["page"] = {"limit": 2, "token": first["token"]}
    second = json.loads(post(sidecar, "/v1.0-alpha1/state/lite/query", wanted).body)

    assert [item["key"] for item in first["results"]] == ["q4", "q3"]
    assert first["results"][0]["data"] == {"state": "WA", "p": {"id": 1}}
    assert [item["key"] for item in second["results"]] == ["q1"]
    assert "token" not in second
    nothing = post(sidecar, "/v1.0-alpha1/state/lite/query", {"filter": {"EQ": {"state": "none"}}})
    assert nothing.status == 204


@pytest.mark.parametrize("body", [b"", b"{", b'{"filter":{"ODD":{}}}', b'{"filter":{"AND":[]}}', b"[]"])
def test_what_is_no_query_is_refused(sidecar: Sidecar, body: bytes) -> None:
    reply = post(sidecar, "/v1.0-alpha1/state/lite/query", body)

    assert (reply.status, json.loads(reply.body)["errorCode"]) == (500, "ERR_STATE_QUERY")


@pytest.mark.parametrize("name", STORES)
def test_keys_are_listed_by_prefix_page_by_page(sidecar: Sidecar, name: str) -> None:
    keys = [f"list/{n}" for n in range(5)]
    save(sidecar, f"/v1.0/state/{name}", *({"key": key, "value": key} for key in [*keys, "other"]))
    found: list[str] = []
    token = ""
    while True:
        page = sidecar.document("GET", f"/v1.0-alpha1/state/{name}?prefix=list/&limit=2&token={token}")
        found += [item["key"] for item in page["items"]]
        token = page.get("token", "")
        if not token:
            break

    assert found == keys
    [first, *_] = sidecar.document("GET", f"/v1.0-alpha1/state/{name}?prefix=list/&values=true")["items"]
    assert (first["key"], first["data"], bool(first["etag"])) == ("list/0", "list/0", True)
    assert "other" in [item["key"] for item in sidecar.document("GET", f"/v1.0-alpha1/state/{name}")["items"]]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "prefix=a||b"])
def test_listing_that_cannot_be_is_refused(sidecar: Sidecar, query: str) -> None:
    reply = sidecar.call("GET", f"/v1.0-alpha1/state/lite?{query}")

    assert (reply.status, json.loads(reply.body)["errorCode"]) == (400, "ERR_MALFORMED_REQUEST")


def test_operations_are_counted(sidecar: Sidecar, store: str) -> None:
    save(sidecar, store, {"key": "m", "value": 1})
    name = store.rpartition("/")[2]

    page = sidecar.call("GET", "/metrics", port=sidecar.metrics).body.decode()

    assert f'dapr_component_state_count{{app_id="{sidecar.app_id}",component="{name}",' in page
    assert 'operation="set",success="true"' in page


def test_capabilities_are_told(sidecar: Sidecar) -> None:
    told = {one["name"]: one["capabilities"] for one in sidecar.document("GET", "/v1.0/metadata")["components"]}

    assert told["mem"] == ["ETAG", "TRANSACTIONAL", "TTL", "DELETE_WITH_PREFIX", "KEYS_LIKE", "ACTOR"]
    assert told["lite"] == ["ETAG", "TRANSACTIONAL", "TTL", "KEYS_LIKE", "QUERY_API", "ACTOR"]
