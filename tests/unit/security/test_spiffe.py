"""SPIFFE ids: what is one, and what go-spiffe says of what is none."""

import pytest

from pydapr.security import spiffe


def test_an_id_is_written_and_read_back() -> None:
    own = spiffe.new("public", "default", "myapp")
    assert str(own) == "spiffe://public/ns/default/myapp"
    assert own.path == "/ns/default/myapp"
    assert spiffe.parse(str(own)) == own


def test_segments_after_the_app_id_do_not_matter() -> None:
    assert spiffe.parse("spiffe://td/ns/a/b/more") == spiffe.new("td", "a", "b")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be empty"),
        ("http://td/ns/a/b", "scheme is missing or invalid"),
        ("spiffe:///ns/a/b", "trust domain is missing"),
        ("spiffe://TD/ns/a/b", "trust domain characters are limited"),
        ("spiffe://td", "malformed SPIFFE ID: spiffe://td"),
        ("spiffe://td/sn/a/b", "malformed SPIFFE ID"),
        ("spiffe://td/ns/a", "malformed SPIFFE ID"),
        ("spiffe://td/ns//b", "path cannot contain empty segments"),
        ("spiffe://td/ns/a/b/", "path cannot have a trailing slash"),
        ("spiffe://td/ns/../b", "path cannot contain dot segments"),
        ("spiffe://td/ns/a/b c", "path segment characters are limited"),
    ],
)
def test_what_is_no_id(text: str, reason: str) -> None:
    with pytest.raises(spiffe.Malformed, match=reason):
        spiffe.parse(text)


@pytest.mark.parametrize("parts", [("", "a", "b"), ("td", "", "b"), ("td", "a", "")])
def test_no_part_may_be_missing(parts: tuple[str, str, str]) -> None:
    with pytest.raises(spiffe.Malformed, match="malformed SPIFFE ID"):
        spiffe.new(*parts)


@pytest.mark.parametrize("app_id", ["a/b", "a b", "ä", "."])
def test_parts_have_few_characters(app_id: str) -> None:
    with pytest.raises(spiffe.Malformed, match="path"):
        spiffe.new("td", "ns", app_id)


def test_a_trust_domain_may_be_given_as_an_id() -> None:
    assert spiffe.domain("cluster.local") == "cluster.local"
    assert spiffe.domain("spiffe://cluster.local/x") == "cluster.local"
    with pytest.raises(spiffe.Malformed, match="scheme"):
        spiffe.domain("https://cluster.local")
    with pytest.raises(spiffe.Malformed, match="limited to lowercase"):
        spiffe.domain("Cluster")


def test_the_namespace_comes_from_the_environment() -> None:
    assert spiffe.current_namespace({}) == "default"
    assert spiffe.current_namespace({"NAMESPACE": "x"}) == "x"
