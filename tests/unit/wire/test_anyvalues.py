"""What reminders carry, as apps see it."""

import pytest
from google.protobuf import any_pb2, duration_pb2, struct_pb2, wrappers_pb2

from pydapr.wire import anyvalues


def test_bytes_are_those_of_protobuf() -> None:
    assert anyvalues.bytes_value(b"abc") == wrappers_pb2.BytesValue(value=b"abc").SerializeToString()
    assert anyvalues.bytes_value(b"") == b""


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        (b'{  "foo": [ 12, 4 ] }', b'{"foo":[12,4]}'),
        (b'{"big":123456789012345678901234567890, "z":1.10}', b'{"big":123456789012345678901234567890,"z":1.10}'),
        (b"null", b"null"),
        ('"ü <&>"'.encode(), '"ü <&>"'.encode()),
        (b"", b""),
    ],
)
def test_documents_are_shown_without_blanks(kept: bytes, shown: bytes) -> None:
    assert anyvalues.document(anyvalues.BYTES, anyvalues.bytes_value(kept)) == shown


def test_what_is_no_document_is_refused() -> None:
    with pytest.raises(anyvalues.Invalid):
        anyvalues.document(anyvalues.BYTES, anyvalues.bytes_value(b"{nothing"))
    with pytest.raises(anyvalues.Invalid):
        anyvalues.document("type.googleapis.com/who.knows", b"")


def test_other_types_are_shown_in_protobufs_form() -> None:
    packed = any_pb2.Any()
    packed.Pack(duration_pb2.Duration(seconds=5))
    assert anyvalues.document(packed.type_url, packed.value) == b'"5s"'
    packed.Pack(struct_pb2.Value(string_value="text"))
    assert anyvalues.document(packed.type_url, packed.value) == b'"text"'
