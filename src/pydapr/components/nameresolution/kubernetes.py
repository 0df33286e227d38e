"""nameresolution.kubernetes finds an app by the DNS name of its service: `catalog-dapr.shop.svc.cluster.local`.

A template may say another name: `{{.ID}}.{{.Namespace}}.internal:{{.Port}}`. The port is the one that this sidecar has
for other sidecars. Names are looked up again after 20 seconds.
"""

import re

from pydapr.components import Wrong, component, option, options
from pydapr.components.nameresolution import Addresses, Instance, Remembering, host_port
from pydapr.net import lookup

_FIELD = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
_FIELDS = (".ID", ".Namespace", ".Port")


@options
class Options:
    cluster_domain: str = option("The domain of the cluster.", default="cluster.local")
    template: str = option("The address, with `{{.ID}}`, `{{.Namespace}}` and `{{.Port}}`.", default="")


@component("nameresolution.kubernetes", Options)
class Kubernetes(Remembering):
    fresh, usable = 20.0, 300.0
    place = "DNS"

    def __init__(self, options: Options) -> None:
        super().__init__()
        domain = options.cluster_domain or "cluster.local"
        self._template = options.template or "{{.ID}}-dapr.{{.Namespace}}.svc." + domain + ":{{.Port}}"
        for field in _FIELD.findall(self._template):
            if field not in _FIELDS:
                raise Wrong(f"metadata property template: {{{{{field}}}}} is not one of {', '.join(_FIELDS)}")
        self._port = 50002

    async def open(self) -> None:
        pass

    async def register(self, instance: Instance) -> None:
        self._port = host_port(instance.address)[1]

    def address(self, app_id: str, namespace: str) -> str:
        """The name and port of an app."""
        values = dict(zip(_FIELDS, (app_id, namespace, str(self._port)), strict=True))
        return _FIELD.sub(lambda field: values[field[1]], self._template)

    async def look_up(self, app_id: str, namespace: str) -> Addresses:
        name, colon, port = self.address(app_id, namespace).rpartition(":")
        if not colon or not port.isdecimal():
            raise ValueError(f"no port in address {name}{colon}{port}")
        try:
            found = await lookup.places(name, int(port))
        except lookup.NoSuchHost as error:
            raise OSError(f"failed to resolve address for '{name}': {error}") from None
        return tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, _ in found)
