"""Errors as statuses of gRPC."""

import pytest

from pydapr.api.grpc import errors
from pydapr.errors import Code, DaprError, InvokeFailed, SecretDenied, TooManyAttributes
from pydapr.wire import details


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvokeFailed("a"), Code.INTERNAL),
        (SecretDenied("b"), Code.PERMISSION_DENIED),
        (TooManyAttributes(1), Code.RESOURCE_EXHAUSTED),
    ],
)
def test_errors_of_blocks_keep_their_words(error: DaprError, code: Code) -> None:
    told = errors.rpc_error(error)

    assert (told.code, told.message) == (code, error.message)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_successes_are_no_errors(status: int) -> None:
    assert errors.from_http(status, "text") is None


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (100, Code.UNKNOWN, "Continue"),
        (301, Code.UNKNOWN, "Moved Permanently"),
        (400, Code.INTERNAL, "Bad Request"),
        (401, Code.UNAUTHENTICATED, "Unauthorized"),
        (403, Code.PERMISSION_DENIED, "Forbidden"),
        (404, Code.NOT_FOUND, "Not Found"),
        (408, Code.CANCELLED, "Request Timeout"),
        (409, Code.ALREADY_EXISTS, "Conflict"),
        (418, Code.UNKNOWN, "I'm a teapot"),
        (429, Code.RESOURCE_EXHAUSTED, "Too Many Requests"),
        (500, Code.UNKNOWN, "Internal Server Error"),
        (501, Code.UNIMPLEMENTED, "Not Implemented"),
        (503, Code.UNAVAILABLE, "Service Unavailable"),
        (504, Code.DEADLINE_EXCEEDED, "Gateway Timeout"),
        (799, Code.UNKNOWN, ""),
    ],
)
def test_statuses_of_http_have_codes(status: int, code: Code, message: str) -> None:
    error = errors.refusal(status, "why")

    assert (error.code, error.message) == (code, message)
    info = details.error_info(message, "dapr.io", {"http.code": str(status), "http.error_message": "why"})
    assert error.details == details.encode_status(code, message, [info])


def test_long_texts_are_cut_where_the_details_end() -> None:
    assert errors.refusal(500, "x" * 63).details == errors.refusal(500, "x" * 100).details
    assert errors.refusal(500, "x" * 62).details != errors.refusal(500, "x" * 63).details


def test_a_text_cut_within_a_letter_is_still_a_text() -> None:
    assert "�".encode() in errors.refusal(500, "x" * 62 + "ä").details
