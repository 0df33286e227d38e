"""Policies in Rego that decide on requests."""

import asyncio
import base64
import json
import re
from pathlib import Path

import pytest
import yaml
from tests.unit.components.middleware.conftest import Asked, End, Passing

from pydapr.components import Wrong, read
from pydapr.components.middleware.opa import IN_PLACE_BYTES, OPA, Options
from pydapr.net.body import Body, TooLarge

pytest.importorskip("regopy")

ECHO = 'package http\nallow = {"allow": false, "status_code": 418, "additional_headers": {"x": json.marshal(%s)}}'

JWT = """
package http
default allow = true
token = payload {
    [_, shown] := split(input.request.headers["Authorization"], " ")
    [_, payload, _] := io.jwt.decode(shown)
}
allow = {"status_code": 301, "additional_headers": {"location": "https://my.site/login"}} { not token.admin }
allow = {"allow": true, "additional_headers": {"x-claims": json.marshal(token)}} { token.admin }
"""


def policy(rule: str, **options: object) -> OPA:
    return OPA(Options(rego=f"package http\n{rule}", **options))  # type: ignore[arg-type]


async def seen(asked: Asked, what: str, **options: object) -> object:
    """What the policy sees of a request, as JSON."""
    made = OPA(Options(rego=ECHO % f"input.request.{what}", **options))  # type: ignore[arg-type]
    await made.wrap(End())(asked)
    return json.loads(asked.told[b"x"])


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ("allow = true", 200),
        ("allow := true", 200),
        ("allow = false", 403),
        ('allow { input.request.method == "GET" }', 200),
        ('import rego.v1\nallow if input.request.method == "GET"', 200),
        ('default allow = false\nallow { input.request.method == "POST" }', 403),
        ('allow = {"allow": true}', 200),
        ('allow = {"Allow": true}', 200),
        ('allow = {"allow": false}', 403),
        ('allow = {"status_code": 301}', 301),
        ('allow = {"status_code": 999}', 500),
        ('allow = {"status_code": 204}', 204),
        ('default allow = true\nallow = {"status_code": 402} { input.request.path_parts[0] = "a" }', 402),
        ("allow { re_match(`^/a`, input.request.path) }", 200),
    ],
)
async def test_the_policy_decides(passing: Passing, end: End, rule: str, status: int) -> None:
    asked = await passing(policy(rule), Asked(b"/a"))

    assert (asked.status, bool(end.seen)) == (status, status == 200)
    assert b"x-dapr-opa-error" not in asked.told


async def test_a_refusal_says_its_status(passing: Passing) -> None:
    asked = await passing(policy("allow = false"), Asked())

    assert (asked.sent, asked.told) == (b"Forbidden", {b"content-type": b"text/plain; charset=utf-8"})


@pytest.mark.parametrize(
    "rule",
    [
        "allow = 1",
        "allow = [true]",
        "allow = null",
        "other = true",
        "allow { input.nothing }",
        'allow = {"allow": "yes"}',
        'allow = {"allow": true, "status_code": "200"}',
        'allow = {"allow": true, "additional_headers": {"a": 1}}',
        'allow = {"allow": true, "additional_headers": ["a"]}',
        'allow = {"allow": true, "additional_headers": {"a b": "c"}}',
        'allow = {"allow": true, "additional_headers": {"a": "b\\nc"}}',
        "allow = true { true }\nallow = false { true }",
    ],
)
async def test_without_a_decision_nobody_passes(
    passing: Passing, end: End, rule: str, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = await passing(policy(rule, default_status=499), Asked())

    assert (asked.status, end.seen) == (500, [])
    assert asked.told[b"x-dapr-opa-error"] == b"true"
    assert "Error processing rego policy: " in capfd.readouterr().out


async def test_another_package_decides_nothing(passing: Passing) -> None:
    asked = await passing(OPA(Options(rego="package http.authz\nallow = true")), Asked())

    assert (asked.status, asked.told[b"x-dapr-opa-error"]) == (403, b"true")


@pytest.mark.parametrize(("given", "status"), [("401", 401), ("0", 500), ("100", 500), ("777", 500)])
async def test_default_status(passing: Passing, given: str, status: int) -> None:
    options = read(Options, {"rego": "package http\nallow = false", "defaultStatus": given})

    assert (await passing(OPA(options), Asked())).status == status


async def test_fields_go_to_the_app_or_to_the_client(passing: Passing, end: End) -> None:
    fields = '"additional_headers": {"X-Key": "new", "location": "https://my.site/login"}'
    asked = await passing(policy(f'allow = {{"status_code": 301, {fields}}}'), Asked())
    assert asked.told[b"x-key"] == b"new"
    assert asked.told[b"location"] == b"https://my.site/login"

    await passing(policy(f'allow = {{"allow": true, {fields}}}'), Asked(headers=[(b"x-key", b"old"), (b"y", b"z")]))
    assert list(end.seen[0].headers) == [(b"y", b"z"), (b"x-key", b"new"), (b"location", b"https://my.site/login")]


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("method", "GET"),
        ("path", "/a b/é"),
        ("path_parts", ["a b", "é"]),
        ("raw_query", "x=1&x=2+3&y&%zz=1&a;b"),
        ("query", {"x": ["1", "2 3"], "y": [""]}),
        ("headers", {}),
        ("scheme", ""),
        ("body", ""),
    ],
)
async def test_input_document(what: str, value: object) -> None:
    asked = Asked(b"/a%20b/%C3%A9?x=1&x=2+3&y&%zz=1&a;b", [(b"x-one", b"1")], b"hidden")

    assert await seen(asked, what) == value


async def test_only_the_header_fields_asked_for_are_seen() -> None:
    headers = [(b"x-one", b"1"), (b"host", b"h"), (b"x-two", b'"q" \\ \xc3\xa9'), (b"x-one", b"2"), (b"y", b"z")]

    found = await seen(Asked(headers=headers), "headers", included_headers=" X-ONE, x-two,,host")

    assert found == {"X-One": "1, 2", "X-Two": '"q" \\ é'}


@pytest.mark.parametrize("size", [10, IN_PLACE_BYTES * 3])
async def test_body_is_seen_and_goes_on(passing: Passing, end: End, size: int) -> None:
    body = b"x" * size
    made = policy(f'allow {{ input.request.body == "{body.decode()}" }}', read_body=True)

    several = await asyncio.gather(*(passing(made, Asked(body=body)) for _ in range(5)))

    assert [(one.status, one.sent) for one in several] == [(200, body)] * 5


async def test_decision_is_read_from_json_in_the_body(passing: Passing) -> None:
    made = policy("allow { json.unmarshal(input.request.body).ok }", read_body=True)

    assert (await passing(made, Asked(body=b'{"ok": true, "a": "\\"\xc3\xa9"}'))).status == 200
    assert (await passing(made, Asked(body=b'{"ok": false}'))).status == 403


async def test_decoded_texts_cannot_add_to_the_decision(passing: Passing, end: End) -> None:
    rule = 'allow = {"status_code": 401, "additional_headers": {"x": base64.decode(input.request.body)}}'
    body = base64.b64encode(b'a"},"allow":true,"z":{"y":"')

    asked = await passing(policy(rule, read_body=True), Asked(body=body))

    assert (asked.status, end.seen) == (401, [])
    assert asked.told[b"x"] == b'a"},"allow":true,"z":{"y":"'


async def test_body_that_is_too_large_does_not_pass(passing: Passing, end: End) -> None:
    asked = Asked()
    asked.body = Body()
    asked.body.fail(TooLarge())

    assert (await passing(policy("allow = true", read_body=True), asked)).status == 413
    assert end.seen == []


async def test_claims_of_a_token(passing: Passing, end: End) -> None:
    made = OPA(Options(rego=JWT, included_headers="authorization"))
    token = b"Bearer eyJhbGciOiJIUzI1NiJ9.eyJhZG1pbiI6dHJ1ZX0.c2ln"

    assert (await passing(made, Asked())).status == 301
    assert (await passing(made, Asked(headers=[(b"authorization", token)]))).status == 200
    assert dict(end.seen[0].headers)[b"x-claims"] == b'{"admin":true}'


async def test_the_example_of_the_page_works(passing: Passing, end: End) -> None:
    page = (Path(__file__).parents[4] / "docs" / "middleware.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(  - name: includedHeaders.*?)```", page, re.S)]
    ((headers, rego),) = blocks
    made = OPA(Options(rego=rego["value"], included_headers=headers["value"]))
    token = b"Bearer eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYWRtaW4ifQ.c2ln"

    refused = await passing(made, Asked())
    await passing(made, Asked(headers=[(b"authorization", token)]))

    assert (refused.status, refused.told[b"location"]) == (302, b"https://shop.example/login")
    assert dict(end.seen[0].headers)[b"x-role"] == b"admin"


@pytest.mark.parametrize(
    ("rego", "reason"),
    [
        ("package http\nallow {", "metadata property rego: inline.rego:2: "),
        ("package http\nallow { nosuch(1) }", "the engine has no function nosuch"),
        ('package http\nf(x) := x\nallow { f(1)\n  http.send({"url": "x"}) }', "the engine has no function http.send"),
    ],
)
def test_policy_that_cannot_be_had_ends_the_start(rego: str, reason: str) -> None:
    with pytest.raises(Wrong, match=reason):
        OPA(Options(rego=rego))


def test_policy_is_required() -> None:
    with pytest.raises(Wrong, match="metadata property rego is required"):
        read(Options, {})
