"""Every conversation component runs through these cases; a new one needs its entry in `MODELS`."""

from collections.abc import AsyncIterator

import pytest

from pydapr import components
from pydapr.components.conversation import (
    AI,
    HUMAN,
    SYSTEM,
    TOOL,
    Conversation,
    Message,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

MODELS: dict[str, dict[str, str]] = {"conversation.echo": {}}
pytestmark = pytest.mark.parametrize("type_", MODELS)

WEATHER = Tool("weather", "The weather in a town.", {"type": "object", "properties": {"town": {"type": "string"}}})


@pytest.fixture
async def model(type_: str) -> AsyncIterator[Conversation]:
    found = components.find(type_)
    assert found is not None
    made = found.make(components.read(found.options, MODELS[type_]))
    assert isinstance(made, Conversation)
    await made.open()
    yield made
    await made.close()


async def test_it_answers_what_is_said(model: Conversation) -> None:
    reply = await model.converse(Request((Message(SYSTEM, (Text("Be brief."),)), Message(HUMAN, (Text("hello"),)))))
    [[choice]] = reply.outputs
    assert choice.content
    assert choice.finish_reason == "stop"
    assert not choice.tool_calls


async def test_it_asks_for_a_tool(model: Conversation) -> None:
    reply = await model.converse(
        Request((Message(HUMAN, (Text("What is the weather in Rome?"),)),), (WEATHER,), "auto")
    )
    [[choice]] = reply.outputs
    assert choice.finish_reason == "tool_calls"
    assert [call.name for call in choice.tool_calls] == ["weather"]
    assert choice.tool_calls[0].id


async def test_it_takes_what_a_tool_gave(model: Conversation) -> None:
    turns = (
        Message(HUMAN, (Text("What is the weather in Rome?"),)),
        Message(AI, (ToolCall("7", "weather", '{"town":"Rome"}'),)),
        Message(TOOL, (ToolResult("7", "weather", "rain"),)),
    )
    [[choice]] = (await model.converse(Request(turns))).outputs
    assert "rain" in choice.content


async def test_it_counts_tokens(model: Conversation) -> None:
    usage = (await model.converse(Request((Message(HUMAN, (Text("hello there"),)),)))).usage
    assert usage is not None
    assert usage.total == usage.prompt + usage.completion > 0
