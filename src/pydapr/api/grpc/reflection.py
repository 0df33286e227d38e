"""Server reflection of the API for apps. Called by the router; `net.reflection` answers."""

from pydapr.net import reflection
from pydapr.net.http2_server import ServerExchange

SERVICES = ("dapr.proto.runtime.v1.Dapr", *reflection.OWN)

_shown = reflection.Reflection(SERVICES)


async def serve(exchange: ServerExchange) -> None:
    """Answers one stream of questions."""
    from pydapr.proto.dapr.proto.runtime.v1 import dapr_pb2

    assert dapr_pb2.DESCRIPTOR is not None  # loaded, so that there is something to tell of
    await _shown.serve(exchange)
