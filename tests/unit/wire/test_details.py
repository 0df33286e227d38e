"""google.rpc.Status by hand, judged by protobuf."""

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from pydapr.wire import details
from pydapr.wire.details import Detail, RichStatus

_TEXT = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_INT = descriptor_pb2.FieldDescriptorProto.TYPE_INT32
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE


def _message(name: str, *fields: tuple[str, int, str]) -> type[Message]:
    """A message class; fields are name, type, and for messages the type's name (then repeated)."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=f"test.{name}", syntax="proto3")
    file.dependency.append("google/protobuf/any.proto")
    pair = file.message_type.add(name="Pair")
    for number, field in enumerate(("key", "value"), 1):
        pair.field.add(name=field, number=number, type=_TEXT, label=1)
    whole = file.message_type.add(name=name)
    for number, (field, kind, type_name) in enumerate(fields, 1):
        whole.field.add(name=field, number=number, type=kind, label=3 if type_name else 1, type_name=type_name or None)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}.{name}"))


_Status = _message("Status", ("code", _INT, ""), ("message", _TEXT, ""), ("details", _MESSAGE, ".google.protobuf.Any"))
_texts = st.text(st.characters(codec="utf-8"), max_size=300)


@given(st.integers(-(2**31), 2**31 - 1), _texts, st.lists(st.builds(Detail, _texts, st.binary()), max_size=3))
def test_a_status_is_what_protobuf_makes_of_it(code: int, message: str, found: list[Detail]) -> None:
    data = details.encode_status(code, message, found)
    parsed = _Status.FromString(data)
    assert parsed.SerializeToString(deterministic=True) == data
    assert details.decode_status(data) == RichStatus(code, message, found)


def test_error_info_has_reason_domain_and_metadata() -> None:
    kind = _message(
        "ErrorInfo", ("reason", _TEXT, ""), ("domain", _TEXT, ""), ("metadata", _MESSAGE, ".test.ErrorInfo.Pair")
    )
    detail = details.error_info("DAPR_STATE", "dapr.io", {"appID": "a", "store": ""})
    assert detail.type_url == "type.googleapis.com/google.rpc.ErrorInfo"
    parsed = kind.FromString(detail.value)
    assert (parsed.reason, parsed.domain) == ("DAPR_STATE", "dapr.io")  # type: ignore[attr-defined]
    assert {pair.key: pair.value for pair in parsed.metadata} == {"appID": "a", "store": ""}  # type: ignore[attr-defined]
    assert details.error_info("r", "d") == details.error_info("r", "d", {})


def test_resource_info_has_four_texts() -> None:
    detail = details.resource_info("state", "redis", description="gone")
    assert detail == ("type.googleapis.com/google.rpc.ResourceInfo", b"\x0a\x05state\x12\x05redis\x22\x04gone")


def test_violations_and_links_are_pairs() -> None:
    value = b"\x0a\x06\x0a\x01a\x12\x01b\x0a\x03\x0a\x01c"
    pairs = [("a", "b"), ("c", "")]
    assert details.bad_request(pairs) == ("type.googleapis.com/google.rpc.BadRequest", value)
    assert details.help_links(pairs) == ("type.googleapis.com/google.rpc.Help", value)


def test_fields_that_are_not_known_are_passed_over() -> None:
    unknown = b"\x20\x01\x29" + bytes(8) + b"\x35" + bytes(4) + b"\x3a\x01x"
    any_with_more = b"\x1a\x05\x0a\x01t\x18\x01"
    wrong_types = b"\x0a\x01x\x10\x01\x18\x01"
    found = details.decode_status(b"\x08\x05" + unknown + any_with_more + wrong_types)
    assert found == RichStatus(5, "", [Detail("t", b"")])


@pytest.mark.parametrize("data", [b"\x08", b"\x12\x05ab", b"\x08" + b"\xff" * 10, b"\x0b", b"\x31\0", b"\x12\x01\xff"])
def test_broken_bytes_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        details.decode_status(data)


def test_what_was_written_is_read() -> None:
    info = details.error_info("reason", "domain", {"a": "1", "b": ""})
    request = details.bad_request([("etag", "wrong"), ("", "")])

    assert details.read_error_info(info.value) == ("reason", "domain", {"a": "1", "b": ""})
    assert details.read_bad_request(request.value) == [("etag", "wrong"), ("", "")]


@pytest.mark.parametrize("data", [b"\xff", b"\x1a\x03\x0a\x05", b"\x0a\x01\xff"], ids=["tag", "entry", "text"])
def test_broken_error_info_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        details.read_error_info(data)
