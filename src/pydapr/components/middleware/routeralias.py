"""middleware.http.routeralias gives paths other names: a request for the one goes on as a request for the other.

    routes: '{ "/orders/{id}": "/v1.0/invoke/shop/method/order" }'

`/orders/7` becomes `/v1.0/invoke/shop/method/order?id=7`. Paths are compared as a whole and in their decoded form;
`{name}` stands for one segment, `{name:expression}` for what the expression matches. The first that fits counts.
"""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from pydapr.components import Wrong, component, option, options
from pydapr.components.middleware import Middleware
from pydapr.lib import re2, urls
from pydapr.net.exchange import Exchange, Handler
from pydapr.observe import logging

log = logging.get("dapr.contrib")

_PLAIN_PATH = "/:@!$&'()*+,;=~-._"


@options
class Options:
    routes: str = option("Path → other path, as JSON or YAML.", default="")
    pairs: dict[str, str] = option("The older form: each key is a path.", default_factory=dict, takes_rest=True)


class _Route(NamedTuple):
    pattern: re.Pattern[str]
    names: tuple[str, ...]
    target: bytes


@component("middleware.http.routeralias", Options)
class RouterAlias(Middleware):
    def __init__(self, options: Options) -> None:
        if options.pairs:
            log.warning(
                "Listing routes as key-value pairs is deprecated. Please use the 'routes' property instead. "
                "See: https://docs.dapr.io/reference/components-reference/supported-middleware/middleware-routeralias/"
            )
            if not all(options.pairs.values()):
                raise Wrong("invalid key/value pair in metadata: must not be empty")
        found = _decode(options.routes) if options.routes else {}
        self._routes = [_route(path, target) for path, target in {**options.pairs, **found}.items()]

    def wrap(self, inner: Handler) -> Handler:
        async def handle(exchange: Exchange) -> None:
            exchange.target = self.alias(exchange.target)
            await inner(exchange)

        return handle

    def alias(self, target: bytes) -> bytes:
        """Path and query of a request as they go on."""
        path, mark, query = target.partition(b"?")
        try:
            asked = urls.decode(path)
        except ValueError:
            return target
        for route in self._routes:
            match = route.pattern.match(asked)
            if match is None:
                continue
            if route.names:
                pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="utf-8")
                pairs += zip(route.names, match.groups(), strict=True)
                return route.target + b"?" + urlencode(sorted(pairs, key=lambda pair: pair[0])).encode()
            return route.target + mark + query
        return target


def _decode(text: str) -> Mapping[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        from pydapr.resources import documents

        try:
            found = documents.decode(text.encode())
        except documents.DocumentError as error:
            raise Wrong(f"failed to decode 'routes' property as JSON or YAML: {error}") from None
    if not isinstance(found, dict):
        raise Wrong("failed to decode 'routes' property as JSON or YAML: it is no mapping of paths")
    return {str(path): str(target) for path, target in found.items()}


def _route(path: str, target: str) -> _Route:
    pattern, names, rest = "", [], path
    while "{" in rest:
        before, _, rest = rest.partition("{")
        inside, rest = _closed(path, rest)
        name, _, expression = inside.partition(":")
        if not name:
            raise Wrong(f"routes: a variable of {path!r} has no name")
        names.append(name)
        pattern += re.escape(before) + f"({_expression(path, expression)})"
    return _Route(re.compile(pattern + re.escape(rest) + r"\Z"), tuple(names), quote(target, _PLAIN_PATH).encode())


def _closed(path: str, rest: str) -> tuple[str, str]:
    """What stands before the brace that closes, and behind it."""
    depth = 1
    for position, letter in enumerate(rest):
        depth += (letter == "{") - (letter == "}")
        if not depth:
            return rest[:position], rest[position + 1 :]
    raise Wrong(f"routes: unbalanced braces in {path!r}")


def _expression(path: str, expression: str) -> str:
    if not expression:
        return "[^/]+"
    try:
        compiled = re2.compile(expression)
    except ValueError as error:
        raise Wrong(f"routes: {path!r}: {error}") from None
    if compiled.groups:
        raise Wrong(f"routes: {path!r}: use (?:...) instead of (...)")
    return f"(?:{compiled.pattern})"
