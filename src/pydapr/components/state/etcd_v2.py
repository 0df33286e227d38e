"""state.etcd, version v2, keeps state in etcd: beside a value stands when it was written and how long it is kept.

The two are a protobuf message, the original's, so that answers can say when a value ends.
"""

import time

from google.protobuf.message import DecodeError

from pydapr.components import component, state
from pydapr.components.drivers.etcd import EtcdStore, Options
from pydapr.components.state import Item, StateError
from pydapr.proto.dapr.proto.components.state.v2 import value_pb2


@component("state.etcd/v2", Options)
class EtcdV2(EtcdStore):
    def encode(self, value: bytes, seconds: int | None) -> bytes:
        kept = value_pb2.Value(data=value)
        kept.ts.GetCurrentTime()
        kept.ttl.seconds = seconds or 0
        return kept.SerializeToString()

    def decode(self, data: bytes, etag: str) -> Item:
        try:
            kept = value_pb2.Value.FromString(data)
        except DecodeError as error:
            raise StateError(f"the value was not written by state.etcd v2: {error}") from None
        if not kept.ttl.seconds:
            return Item(kept.data, etag)
        end = kept.ts.seconds + kept.ttl.seconds
        told = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
        return Item(kept.data, etag, {state.TTL_EXPIRE_TIME: told})
