"""state.etcd keeps state in etcd: a value is what stands under its key.

When a value ends is known to etcd alone; `state.etcd` of version v2 tells it.
"""

from pydapr.components import component
from pydapr.components.drivers.etcd import EtcdStore, Options
from pydapr.components.state import Item


@component("state.etcd", Options)
class Etcd(EtcdStore):
    def encode(self, value: bytes, seconds: int | None) -> bytes:
        return value

    def decode(self, data: bytes, etag: str) -> Item:
        return Item(data, etag)
