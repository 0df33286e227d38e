"""From Component resources to the block of bindings: directions, routes, and the source of events.

`daprd.components` asks for the plan of a binding when it is open, `daprd.blocks` for the output bindings,
`daprd.runtime` for the source. What is read and how is the original's (v1.18.3, `pkg/runtime/processor/binding`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydapr.app import bindings as app_bindings
from pydapr.app.channel import AppChannel
from pydapr.app.grpc import GrpcApp
from pydapr.blocks.bindings import Bindings, Events, Input
from pydapr.components import Part
from pydapr.components.bindings import InputBinding, OutputBinding
from pydapr.components.state import Set
from pydapr.lib.record import Record

if TYPE_CHECKING:
    from pydapr.blocks.state import State
    from pydapr.daprd import flags
    from pydapr.daprd.components import Opened
    from pydapr.daprd.measures import Measures
    from pydapr.observe.tracing import Tracer
    from pydapr.policy.resiliency import Resiliency

INPUT, OUTPUT = "input", "output"
CAPABILITIES = {INPUT: "INPUT_BINDING", OUTPUT: "OUTPUT_BINDING"}


class Plan(Record):
    """How an open binding is used."""

    directions: Sequence[str]
    """Those that it has, and that its resource does not leave out."""
    is_for_input: bool
    """Whether the resource says so, in which case the app is not asked."""
    route: str

    @property
    def capabilities(self) -> list[str]:
        """What the metadata API tells of it."""
        return [CAPABILITIES[one] for one in self.directions]


def plan(name: str, properties: Mapping[str, str], part: Part) -> Plan:
    """How the binding of a resource is used; `properties` are the resource's metadata, resolved."""
    given = next((value for key, value in properties.items() if key.lower() == "direction"), None)
    wanted = {one.strip().lower() for one in given.split(",")} if given is not None else {INPUT, OUTPUT}
    has = {INPUT: isinstance(part, InputBinding), OUTPUT: isinstance(part, OutputBinding)}
    directions = [one for one in (INPUT, OUTPUT) if has[one] and one in wanted]
    return Plan(directions, given is not None and INPUT in wanted, properties.get("route") or name)


def outputs(opened: "Opened | None") -> dict[str, OutputBinding]:
    """The bindings that the app can call."""
    found = {}
    for name, one in opened.bindings.items() if opened is not None else ():
        part = opened.parts[name][1] if opened is not None else None
        if OUTPUT in one.directions and isinstance(part, OutputBinding):
            found[name] = part
    return found


def source(
    opened: "Opened | None",
    settings: "flags.Settings",
    channel: Callable[[], AppChannel | None],
    rpc: GrpcApp,
    bindings: Bindings,
    states: "State",
    policies: "Resiliency | None",
    measures: "Measures | None",
    tracer: "Tracer | None",
) -> Events | None:
    """What calls the app with events; None without input bindings or an app."""
    if opened is None or not settings.app_port:
        return None
    inputs = []
    for name, one in opened.bindings.items():
        part = opened.parts[name][1]
        if INPUT in one.directions and isinstance(part, InputBinding):
            inputs.append(Input(name, part, one.route, one.is_for_input))
    if not inputs:
        return None
    is_rpc = settings.app_protocol in ("grpc", "grpcs")
    app = app_bindings.RpcApp(rpc) if is_rpc else app_bindings.HttpApp(channel, settings.max_body_size)

    async def save(store: str, values: Sequence[Set]) -> None:
        await states.save(states.store(store), values)

    made = Events(inputs, app, bindings, save, settings.app_binding_options_timeout, policies)
    if measures is not None:
        made.metrics = measures.input_bindings
        made.calls = measures.grpc.server.method(app.described("")) if is_rpc else None
    made.tracer = tracer
    return made
