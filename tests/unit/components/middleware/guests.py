"""WebAssembly guests for the tests, as text. `module` puts one together out of its two functions."""

import wasmtime

FUNCTIONS = {
    "enable_features": "(param i32) (result i32)",
    "get_config": "(param i32 i32) (result i32)",
    "log_enabled": "(param i32) (result i32)",
    "log": "(param i32 i32 i32)",
    "get_method": "(param i32 i32) (result i32)",
    "set_method": "(param i32 i32)",
    "get_uri": "(param i32 i32) (result i32)",
    "set_uri": "(param i32 i32)",
    "get_protocol_version": "(param i32 i32) (result i32)",
    "get_header_names": "(param i32 i32 i32) (result i64)",
    "get_header_values": "(param i32 i32 i32 i32 i32) (result i64)",
    "set_header_value": "(param i32 i32 i32 i32 i32)",
    "add_header_value": "(param i32 i32 i32 i32 i32)",
    "remove_header": "(param i32 i32 i32)",
    "read_body": "(param i32 i32 i32) (result i64)",
    "write_body": "(param i32 i32 i32)",
    "get_source_addr": "(param i32 i32) (result i32)",
    "get_status_code": "(result i32)",
    "set_status_code": "(param i32)",
}

GO_ON = "(i64.const 1)"
ANSWERED = "(i64.const 0)"


def module(
    request: str = GO_ON,
    response: str = "",
    *,
    start: str = "",
    texts: dict[int, str] | None = None,
    more: str = "",
    imports: str = "",
    has_start: bool = True,
) -> bytes:
    """A guest. `request` ends with what `handle_request` gives back; `texts` lie in its memory, by place.

    Parameters of `handle_response` are `$context` and `$is_error`; both have locals `$n` and `$m`.
    """
    known = "".join(
        f'(import "http_handler" "{name}" (func ${name} {kind}))\n'
        for name, kind in FUNCTIONS.items()
        if f"${name} " in request + response + start + more or f"${name})" in request + response + start + more
    )
    data = "".join(f'(data (i32.const {at}) "{text}")\n' for at, text in (texts or {}).items())
    begin = f'(func (export "_start") {start})' if has_start else ""
    return bytes(
        wasmtime.wat2wasm(f"""(module
        {imports}
        {known}
        (memory (export "memory") 2)
        {data}
        {more}
        {begin}
        (func (export "handle_request") (result i64) (local $n i32) (local $m i64) {request})
        (func (export "handle_response") (param $context i32) (param $is_error i32) (local $n i32) (local $m i64)
          {response}))""")
    )


def answer(status: int, at: int, size: int) -> str:
    """Instructions that answer with a text in the memory."""
    body = f"(call $write_body (i32.const 1) (i32.const {at}) (i32.const {size}))"
    return f"(call $set_status_code (i32.const {status})) {body}"
