"""From a call to the face that answers it. Built once at start; called by `net.server` for each exchange.

A method that is not there is passed on to the app that the metadata name, as in the original, also one of
Dapr's own service that this version does not know. What is switched off is not in the chain.
"""

from collections.abc import Callable, Iterable, Mapping

from pydapr.api import access
from pydapr.api.grpc import errors
from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server
from pydapr.net.exchange import Exchange, Handler
from pydapr.net.grpc_server import Method
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import headers as names

SERVICE = access.RUNTIME_PREFIX + "v1.Dapr"
REFLECTION = (
    b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


def build(
    methods: Mapping[str, Method],
    others: Method,
    is_open: Callable[[str], bool],
    token: str,
    around: Callable[[Method], Method],
) -> Handler:
    """The handler of the gRPC API. `methods` go by their short names; `others` answers what is none of ours.

    `around` is put around each method that is open.
    """
    table: dict[bytes, Method] = {}
    for name in (*methods, *_absent(methods)):
        path = f"{SERVICE}/{name}"
        table[path.encode()] = around(methods.get(name) or _not_yet(name)) if is_open(path) else _closed
    for path_of_reflection in REFLECTION:
        table[path_of_reflection] = around(_reflect)
    inner = grpc_server.Methods(table, around(others))
    return require_token(token, inner) if token else inner


def _absent(methods: Mapping[str, Method]) -> Iterable[str]:
    """Methods of Dapr's service that pydapr does not have yet."""
    return (name for group in access.GRPC_METHODS.values() for name in group.split() if name not in methods)


def _not_yet(name: str) -> Method:
    async def refuse(exchange: ServerExchange) -> None:
        raise RpcError(Code.UNIMPLEMENTED, f"unknown method {name} for service {SERVICE.removeprefix('/')}")

    return refuse


async def _closed(exchange: ServerExchange) -> None:
    raise errors.refusal(501, access.NOT_AVAILABLE)


async def _reflect(exchange: ServerExchange) -> None:
    """Like the original, which looks for an app id before anything else, also in calls that are for itself."""
    if not {b"dapr-app-id", b"dapr-callee-app-id"} & exchange.fields.keys():
        text = "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"
        raise RpcError(Code.UNKNOWN, text)
    from pydapr.api.grpc import reflection

    await reflection.serve(exchange)


def require_token(token: str, inner: Handler) -> Handler:
    """`inner`, reached only with `token` in the metadata, which are passed on without it."""
    import hmac  # not needed without a token, and it takes nearly a megabyte

    expected = token.encode()

    async def handle(exchange: Exchange) -> None:
        given = names.first(exchange.headers, b"dapr-api-token")
        if given is not None and hmac.compare_digest(given, expected):
            exchange.headers = tuple([header for header in exchange.headers if header[0] != b"dapr-api-token"])
            await inner(exchange)
            return
        reason = (
            "missing api token in request metadata" if given is None else "authentication error: api token mismatch"
        )
        if isinstance(exchange, ServerExchange):
            grpc_server.fail(exchange, errors.refusal(401, reason))
        else:
            exchange.respond(415, (), b"")

    return handle
