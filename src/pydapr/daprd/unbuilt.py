"""What to say of a component's type that is not there: whether Dapr has it, and how it can be had all the same.

Called by `daprd.components` when a type was found nowhere. The names are those of the original (v1.18.3).
"""

import difflib
from collections.abc import Sequence

from pydapr.components import FIRST_VERSIONS, pluggable

_CLOUDS = ("alicloud", "aws", "azure", "cloudflare", "gcp", "huawei", "huaweicloud", "oci", "tencentcloud", "twilio")
"""First parts of names of what belongs to a cloud."""

_SERVICES = """
    bindings.apns bindings.commercetools bindings.dingtalk.webhook bindings.postmark conversation.anthropic
    conversation.deepseek conversation.googleai conversation.huggingface conversation.mistral conversation.openai
    pubsub.solace.amqp
"""
"""What belongs to a service of its own."""

_OTHERS = """
    bindings.dubbo bindings.influx bindings.kitex bindings.kubemq bindings.kubernetes bindings.rethinkdb.statechange
    bindings.rocketmq bindings.wasm bindings.zeebe.command bindings.zeebe.jobworker configuration.kubernetes
    conversation.ollama pubsub.kubemq pubsub.pulsar pubsub.rocketmq secretstores.kubernetes state.aerospike
    state.cassandra state.coherence state.consul state.couchbase state.hashicorp.consul state.hazelcast
    state.oracledatabase state.ravendb state.rethinkdb state.sqlserver
"""

SERVICES, OTHERS = frozenset(_SERVICES.split()), frozenset(_OTHERS.split())


def reason(type_: str, version: str, built: Sequence[str]) -> str:
    """Why there is no component of this type, and what to do. `built` are the types of its kind that there are."""
    kind, _, name = type_.lower().partition(".")
    first = name.partition(".")[0]
    have = f"this version of pydapr has {', '.join(built) or 'none yet'}"
    if kind == "middleware":
        return have
    if version.lower() not in FIRST_VERSIONS and type_.lower() in built:
        return f"of {type_} there is another version; {have}"
    if type_.lower() in SERVICES or first in _CLOUDS:
        return f"it belongs to a cloud service, and is not built into this runtime{_route(kind)}"
    if type_.lower() in OTHERS:
        return f"it is not built into this runtime{_route(kind)}"
    near = difflib.get_close_matches(type_.lower(), built, 1, 0.8)
    return f"{have}{f'; did you mean {near[0]}?' if near else ''}"


def _route(kind: str) -> str:
    """How such a component can be had, where there is a way."""
    if kind not in pluggable.SERVICES:
        return ""
    return (
        f"; run it as a pluggable component (gRPC over a Unix socket in {pluggable.VARIABLE}, "
        f"default {pluggable.FOLDER})"
    )
