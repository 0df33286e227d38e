"""asyncio around `wire`: servers, clients and pools that move the bytes."""

from pydapr.lib import compiled

__path__ = compiled.paths(__path__, __name__)
