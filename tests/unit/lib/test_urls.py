"""Paths and queries of the API."""

import pytest

from pydapr.lib import urls


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        (b"/v1.0/secrets/st/a%20b", ["st", "a b"]),
        (b"/v1.0/secrets/st/a+b?metadata.x=/", ["st", "a b"]),
        (b"/v1.0/secrets/st/a%2Bb/", ["st", "a+b"]),
        (b"/v1.0/secrets/s%2Ft/a%2fb", ["s/t", "a/b"]),
        (b"/v1.0/secrets/%C3%BC/x", ["ü", "x"]),
    ],
)
def test_segments_are_decoded_one_by_one(target: bytes, segments: list[str]) -> None:
    assert urls.segments(target, b"/v1.0/secrets/") == segments


def test_broken_escape_is_an_error() -> None:
    with pytest.raises(ValueError, match="invalid URL escape"):
        urls.segments(b"/v1.0/secrets/st/%zz", b"/v1.0/secrets/")


@pytest.mark.parametrize(
    ("query", "metadata"),
    [
        (b"", {}),
        (b"?a=b", {}),
        (b"?metadata.version_id=3&metadata.a+b=%26+c&other=1", {"version_id": "3", "a b": "& c"}),
        (b"?metadata.x=1&metadata.x=2", {"x": "1"}),
        (b"?metadata.x=&metadata.y", {"x": "", "y": ""}),
        (b"?metadata.x=%C3%BC", {"x": "ü"}),
    ],
)
def test_metadata_stand_in_the_query(query: bytes, metadata: dict[str, str]) -> None:
    assert urls.metadata(b"/v1.0/secrets/st/a" + query) == metadata


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert urls.whole(urls.segments(b"/p/a%C3%BC/%FF/x", b"/p/")) == ["aü", "\ufffd", "x"]
