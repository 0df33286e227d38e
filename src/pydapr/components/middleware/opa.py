"""middleware.http.opa asks a policy written in Rego whether a request may pass.

    rego: |
      package http
      default allow = false
      allow { input.request.method == "GET" }

The policy says `data.http.allow`: true, false, or an object with `allow`, `status_code` and `additional_headers`. It is
compiled at start. The engine is rego-cpp (`regopy`), not OPA's own: what it does not know ends the start.

An evaluation takes less than a millisecond and has an end (Rego has no endless loops), so it is made in place; one
with a large body is made in a thread.
"""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydapr.components import Wrong, component, option, options
from pydapr.components.drivers import thread
from pydapr.components.middleware import PLAIN, Middleware
from pydapr.lib import urls
from pydapr.net.body import Body, TooLarge
from pydapr.net.exchange import Exchange, Handler, Header
from pydapr.observe import logging
from pydapr.wire import headers as names
from pydapr.wire import http1

log = logging.get("dapr.contrib")

IN_PLACE_BYTES = 8 * 1024
"""Input up to this size is evaluated in place, which takes less than passing it to a thread costs others."""

_QUERY = "result = data.http.allow"
_ERROR: Header = (b"x-dapr-opa-error", b"true")
_IS_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_NO_CODE = re.compile(r'"(?:\\.|[^"\\\n])*"|`[^`]*`|#[^\n]*')
_OLD_NAME = re.compile(rf"({_NO_CODE.pattern})|(?<![\w.])re_match\(")
"""What OPA still knows under its old name (`re_match`, now `regex.match`), outside of texts and comments."""
_CALLS = re.compile(r"([A-Za-z_][\w.]*)\(|[{}\n]")
_TELLS = re.compile(r"error (?:\d+:)?(\S*?)\|(\d+)\|\d+\s*\(errormsg \d+:([^)]*)\)|errormsg \d+:([^)\n]*)")


@options
class Options:
    rego: str = option("The policy: a module of the package `http` that says `allow`.")
    default_status: int = option("The status of what is turned away, when the policy names none.", default=403)
    included_headers: str = option("The header fields that the policy sees, separated by commas.", default="")
    read_body: bool = option("Read the whole body, and let the policy see it.", default=False)


class Undecided(Exception):
    """The policy gave no decision that counts."""


class Policy:
    """A compiled module. Not for several threads at once."""

    def __init__(self, rego: str) -> None:
        import regopy

        self._engine = regopy.Interpreter()
        self._engine.log_level = regopy.LogLevel.NONE
        try:
            rego = _OLD_NAME.sub(lambda found: found[1] or "regex.match(", rego)
            self._engine.add_module("inline.rego", rego)
            self._bundle = self._engine.build(_QUERY)
            unknown = sorted(name for name in _called(rego) if not self._engine.is_builtin(name))
        except regopy.RegoError as error:
            raise Wrong(f"metadata property rego: {_told(str(error), rego)}") from None
        if not self._bundle.ok():
            raise Wrong("metadata property rego: the policy cannot be compiled")
        if unknown:
            raise Wrong(f"metadata property rego: the engine has no function {', '.join(unknown)}")

    def decide(self, document: str) -> object:
        """What the policy says about an input document (JSON). Raises `Undecided`."""
        import regopy

        try:
            self._engine.set_input_term(document)
            output = self._engine.query_bundle(self._bundle)
        except regopy.RegoError as error:
            raise Undecided(_told(str(error), "")) from None
        except json.JSONDecodeError as error:  # the library reads what the engine says of errors as if it were JSON
            raise Undecided(_told(error.doc, "")) from None
        if not output.ok():
            raise Undecided("the policy contradicts itself, or cannot be evaluated")
        if not output.results or "result" not in output.results[0].bindings:
            raise Undecided("received no results back from rego policy. Are you setting data.http.allow?")
        # Not `output.results`: the engine does not escape all texts in its JSON, so that they could add keys to it.
        return _plain(output.binding("result"), regopy.NodeKind)


def _plain(node: Any, kinds: Any) -> object:
    """A value of the engine's. What it lives in must be held meanwhile."""
    kind = node.kind
    while kind in (kinds.Term, kinds.Scalar):
        node = node.at(0)
        kind = node.kind
    if kind == kinds.String:
        return _unescaped(node.value)
    if kind in node.ValueKinds:
        value: object = node.value
        return value
    if kind == kinds.Array:
        return [_plain(node.at(index), kinds) for index in range(len(node))]
    if kind == kinds.Set:
        return []  # decides nothing, whatever is in it
    if kind != kinds.Object:
        raise Undecided("the policy gave what is no JSON")
    try:
        return {str(_unescaped(key)): _plain(node.lookup(json.loads(key)), kinds) for key in node}
    except (KeyError, ValueError):
        raise Undecided("the policy gave an object with keys that cannot be read") from None


def _unescaped(text: str) -> str:
    """A text of the engine's, which keeps most in the form that JSON has for them, some with quotes."""
    for quoted in (text, f'"{text}"') if text[:1] == '"' else (f'"{text}"',):
        try:
            return str(json.loads(quoted))
        except ValueError:
            continue
    return text


@component("middleware.http.opa", Options)
class OPA(Middleware):
    def __init__(self, options: Options) -> None:
        self._policy = Policy(options.rego)
        self._beside = Policy(options.rego)
        self._one_beside = asyncio.Lock()
        self._status = options.default_status
        asked = ("".join(name.split()).lower().encode() for name in options.included_headers.split(","))
        self._included = frozenset(name for name in asked if name and name != b"host")
        self._reads = options.read_body

    def wrap(self, inner: Handler) -> Handler:
        async def handle(exchange: Exchange) -> None:
            body = b""
            if self._reads:
                try:
                    body = await exchange.body.read_all()
                except TooLarge:
                    _refuse(exchange, 413, [])
                    return
                exchange.body = Body.of(body)
            try:
                decision = await self._decide(self._document(exchange, body))
                allow, status, told = _read(decision, self._status)
            except Undecided as error:
                log.warning(f"Error processing rego policy: {error}")
                _refuse(exchange, self._status, [_ERROR])
                return
            if not allow:
                _refuse(exchange, status, told)
                return
            if told:
                replaced = {name for name, _ in told}
                exchange.headers = [*(field for field in exchange.headers if field[0] not in replaced), *told]
            await inner(exchange)

        return handle

    async def _decide(self, document: str) -> object:
        if len(document) <= IN_PLACE_BYTES:
            return self._policy.decide(document)
        async with self._one_beside:
            # Who is cancelled may not let the next one at the engine before it is done.
            task = asyncio.create_task(thread.run(self._beside.decide, document))
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                await asyncio.wait((task,))
                if not task.cancelled():
                    task.exception()
                raise

    def _document(self, exchange: Exchange, body: bytes) -> str:
        """The input of the policy, as JSON."""
        raw_path, _, query = exchange.target.partition(b"?")
        try:
            path = _text(urls.decode(raw_path).encode("utf-8", "surrogateescape"))
        except ValueError:
            raise Undecided("the path cannot be decoded") from None
        fields: dict[str, str] = {}
        for name, value in exchange.headers:
            if name in self._included:
                shown = names.canonical(name).decode("latin-1")
                fields[shown] = f"{fields[shown]}, {_text(value)}" if shown in fields else _text(value)
        request = {
            "method": exchange.method.decode("latin-1"),
            "path": path,
            "path_parts": path.strip("/").split("/"),
            "raw_query": _text(query),
            "query": _parameters(query),
            "headers": fields,
            "scheme": "",
            "body": _text(body),
        }
        # Texts stay as they are: the engine compares escapes with the letters of the policy, without resolving them.
        return json.dumps({"request": request}, ensure_ascii=False)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _parameters(query: bytes) -> dict[str, list[str]]:
    """The parameters of a query as Go's net/url reads them: pairs with a semicolon or a broken escape are left out."""
    found: dict[str, list[str]] = {}
    for pair in query.split(b"&"):
        if not pair or b";" in pair:
            continue
        name, _, value = pair.replace(b"+", b" ").partition(b"=")
        try:
            key, text = urls.decode(name), urls.decode(value)
        except ValueError:
            continue
        key, text = (_text(one.encode("utf-8", "surrogateescape")) for one in (key, text))
        found.setdefault(key, []).append(text)
    return found


def _read(decision: object, status: int) -> tuple[bool, int, Sequence[Header]]:
    """Whether to let pass, the status if not, and header fields. Raises `Undecided`."""
    if isinstance(decision, bool):
        return decision, status, ()
    if not isinstance(decision, dict):
        raise Undecided("got an invalid type back from repo policy. Only a boolean or map is valid")
    said = {str(key).lower(): value for key, value in decision.items()}
    allow, given, added = said.get("allow"), said.get("status_code"), said.get("additional_headers")
    if allow is not None and not isinstance(allow, bool):
        raise Undecided("allow is no boolean")
    if given is not None and (isinstance(given, bool) or not isinstance(given, int)):
        raise Undecided("status_code is no whole number")
    return bool(allow), status if given is None else given, _fields(added or {})


def _fields(added: object) -> list[Header]:
    if not isinstance(added, Mapping) or not all(isinstance(value, str) for value in added.values()):
        raise Undecided("additional_headers is no map of texts")
    fields = []
    for name, value in added.items():
        if not _IS_NAME(name) or not names.is_clean(value.encode()):
            raise Undecided(f"additional_headers: {name!r} cannot be sent")
        fields.append((name.lower().encode(), value.encode()))
    return fields


def _refuse(exchange: Exchange, status: int, told: Sequence[Header]) -> None:
    """Turns a request away. A status that HTTP has no words for becomes 500, as in the original."""
    if status < 200 or status not in http1.REASONS:
        status = 500
    kept = [field for field in told if field[0] not in names.FRAMING and field[0] != b"content-type"]
    body = b"" if status in (204, 304) else http1.REASONS[status]
    exchange.respond(status, [*kept, *PLAIN], body)


def _called(rego: str) -> set[str]:
    """The functions that a policy calls and does not define itself."""
    depth, at_start = 0, 0
    called: set[str] = set()
    defined: set[str] = set()
    code = _NO_CODE.sub(lambda found: '""' if found[0][0] in '"`' else "", rego)
    for found in _CALLS.finditer(code):
        if found[0] == "\n":
            at_start = found.end()
        elif found[0] in "{}":
            depth += 1 if found[0] == "{" else -1
        elif depth == 0 and code[at_start : found.start()].strip() in ("", "default"):
            defined.add(found[1])
        else:
            called.add(found[1])
    imported = {line.split()[-1].rpartition(".")[2] for line in code.splitlines() if line.strip().startswith("import ")}
    return {
        name
        for name in called - defined
        if name.partition(".")[0] not in (*imported, "data", "input") and name not in _KEYWORDS
    }


_KEYWORDS = frozenset({"not", "if", "in", "some", "every", "with", "as", "else"})


def _told(error: str, rego: str) -> str:
    """The engine's error, which is a tree, as a sentence; for the first place that it names with the line."""
    found = _TELLS.search(error)
    if found is None:
        return "the policy cannot be evaluated"
    if found[3] is None:
        return found[4].strip()
    line = rego.encode()[: int(found[2])].count(b"\n") + 1
    return f"{found[1]}:{line}: {found[3].strip()}"
