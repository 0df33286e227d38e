"""nameresolution.nameformat makes the address of an app out of its id: `service-{appid}.example.com:50002`.

Without a port in the format, it is the one that this sidecar has for other sidecars.
"""

from pydapr.components import Wrong, component, option, options
from pydapr.components.nameresolution import Addresses, Instance, Resolver, host_port

_PLACE = "{appid}"


@options
class Options:
    format: str = option("The address, with `{appid}` for the app's id.", default="")


@component("nameresolution.nameformat", Options)
class NameFormat(Resolver):
    def __init__(self, options: Options) -> None:
        if not options.format:
            raise Wrong("format is required in metadata")
        if _PLACE not in options.format:
            raise Wrong("format must contain {appid} placeholder")
        self._format = options.format
        self._needs_port = not options.format.rpartition(":")[2].isdecimal()
        self._port = 50002

    async def open(self) -> None:
        pass

    async def register(self, instance: Instance) -> None:
        self._port = host_port(instance.address)[1]

    def known(self, app_id: str, namespace: str) -> Addresses:
        address = self._format.replace(_PLACE, app_id)
        return (f"{address}:{self._port}" if self._needs_port else address,)

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        return self.known(app_id, namespace)

    def report_dead(self, app_id: str, namespace: str, address: str) -> None:
        pass

    async def close(self) -> None:
        pass
