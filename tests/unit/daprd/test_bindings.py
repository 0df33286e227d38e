"""How a binding is used, by its resource's metadata."""

import pytest

from pydapr.components import Part
from pydapr.components.bindings import Answer, Handler, InputBinding, OutputBinding, Reading, Request
from pydapr.daprd import bindings


class Both(InputBinding, OutputBinding):
    async def invoke(self, request: Request) -> Answer | None:
        return None

    async def read(self, handler: Handler) -> Reading:
        raise NotImplementedError


class Out(OutputBinding):
    async def invoke(self, request: Request) -> Answer | None:
        return None


@pytest.mark.parametrize(
    ("part", "metadata", "capabilities", "is_for_input"),
    [
        (Both(), {}, ["INPUT_BINDING", "OUTPUT_BINDING"], False),
        (Both(), {"Direction": " INPUT , output"}, ["INPUT_BINDING", "OUTPUT_BINDING"], True),
        (Both(), {"direction": "input"}, ["INPUT_BINDING"], True),
        (Both(), {"direction": "output"}, ["OUTPUT_BINDING"], False),
        (Both(), {"direction": "sideways"}, [], False),
        (Out(), {"direction": "input,output"}, ["OUTPUT_BINDING"], True),
        (Out(), {}, ["OUTPUT_BINDING"], False),
    ],
)
def test_directions(part: Part, metadata: dict[str, str], capabilities: list[str], is_for_input: bool) -> None:
    plan = bindings.plan("name", metadata, part)

    assert (plan.capabilities, plan.is_for_input) == (capabilities, is_for_input)


@pytest.mark.parametrize(
    ("metadata", "route"), [({}, "name"), ({"route": "/there"}, "/there"), ({"route": ""}, "name")]
)
def test_route(metadata: dict[str, str], route: str) -> None:
    assert bindings.plan("name", metadata, Both()).route == route
