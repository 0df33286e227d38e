"""Pure parts of pluggable components: names of sockets, answers of reflection, errors with details, queries."""

import os
import socket
from pathlib import Path

import pytest

from pydapr.components import pluggable as facts
from pydapr.components.drivers import pluggable, pluggable_state
from pydapr.components.state import ETagInvalid, ETagMismatch, StateError, Unavailable, Worded
from pydapr.errors import Code, RpcError
from pydapr.lib import query
from pydapr.wire import details


def failed(code: Code, *parts: details.Detail) -> StateError:
    return pluggable_state._told(RpcError(code, "text", details.encode_status(code, "text", parts)))


def etag(field: str = "etag") -> details.Detail:
    return details.bad_request([(field, "because")])


def kit(**metadata: str) -> details.Detail:
    return details.error_info("reason", "domain", {"kit_error": "true", "tag": "a-tag", **metadata})


def test_sockets_are_named_by_their_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    for name in ("store.sock", "a.b.sock", "plain"):
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(name)
    Path("file.sock").write_text("")
    os.mkdir("folder.sock")

    found = facts.sockets({facts.VARIABLE: str(tmp_path)})

    assert found == [(name, str(tmp_path / file)) for name, file in
                     (("a.b", "a.b.sock"), ("plain", "plain"), ("store", "store.sock"))]  # fmt: skip


def test_a_folder_that_is_not_there_has_no_sockets(tmp_path: Path) -> None:
    assert facts.sockets({facts.VARIABLE: str(tmp_path / "none")}) == []
    assert not facts.has_folder({facts.VARIABLE: str(tmp_path / "none")})
    assert facts.folder({}) == "/tmp/dapr-components-sockets"


def test_services_in_an_answer_of_reflection() -> None:
    answer = b"\x12\x03abc" + b"\x32\x0a" + b"\x0a\x03\x0a\x01a" + b"\x0a\x03\x0a\x01b"

    assert pluggable._listed(answer) == {"a", "b"}
    with pytest.raises(RpcError, match="makes no sense"):
        pluggable._listed(b"\x32\x05\x0a")


@pytest.mark.parametrize(
    ("code", "kind"), [(Code.FAILED_PRECONDITION, ETagMismatch), (Code.INVALID_ARGUMENT, ETagInvalid)]
)
def test_errors_of_etags(code: Code, kind: type[StateError]) -> None:
    error = failed(code, etag())

    assert type(error) is kind and str(error).endswith(": because")
    assert type(failed(code)) is StateError
    assert type(failed(code, etag("other"))) is StateError
    assert type(failed(code, etag(), etag())) is StateError


def test_errors_that_the_component_words() -> None:
    error = failed(Code.DATA_LOSS, kit(http_code="506"))

    assert isinstance(error, Worded)
    assert (error.code, error.status, error.tag, error.reason, error.domain) == (15, 506, "a-tag", "reason", "domain")
    assert str(error) == "api error: code = DataLoss desc = text"


@pytest.mark.parametrize("code", ["", "0", "99", "abc", "1000"])
def test_errors_without_a_status_of_use_are_like_others(code: str) -> None:
    assert type(failed(Code.DATA_LOSS, kit(http_code=code))) is StateError


def test_rows_that_were_not_deleted() -> None:
    told = details.error_info("", "", {"expected": "3", "affected": "1"})

    assert str(failed(Code.INTERNAL, told)) == "delete affected only 1 rows, expected 3"


def test_other_errors() -> None:
    assert isinstance(failed(Code.UNAVAILABLE), Unavailable)
    assert str(failed(Code.UNKNOWN)) == "rpc error: code = Unknown desc = text"
    broken = pluggable_state._told(RpcError(Code.FAILED_PRECONDITION, "text", b"\xff\xff"))
    assert type(broken) is StateError


def test_a_query_is_given_on_as_it_came() -> None:
    wanted = query.parse(
        '{"filter": {"AND": [{"EQ": {"a.b": 1}}, {"IN": {"c": ["x"]}}]},'
        ' "sort": [{"key": "a", "order": "DESC"}, {"key": "b"}], "page": {"limit": 5, "token": "t"}}'
    )

    made = pluggable_state._query(wanted)

    assert made.filter["AND"].value == b'[{"EQ": {"a.b": 1}}, {"IN": {"c": ["x"]}}]'
    assert [(one.key, one.order) for one in made.sort] == [("a", 1), ("b", 0)]
    assert (made.pagination.limit, made.pagination.token) == (5, "t")
