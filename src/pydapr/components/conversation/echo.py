"""conversation.echo says what it is told: a model for tests and first steps, without any intelligence.

It answers with all texts, a line each, asks for every tool that is offered with the names of its parameters as
arguments, and counts words as tokens (components-contrib v1.18, `conversation/echo`).
"""

from collections.abc import Mapping

from pydapr.components import component, options
from pydapr.components.conversation import (
    STOP,
    TOOL_CALLS,
    Choice,
    Conversation,
    ConversationError,
    Reply,
    Request,
    Text,
    Tool,
    ToolCall,
    Usage,
)


@options
class Options:
    """It has none."""


@component("conversation.echo", Options)
class Echo(Conversation):
    """Keeps nothing."""

    def __init__(self, options: Options) -> None:
        pass

    async def converse(self, request: Request) -> Reply:
        calls = [ToolCall(str(index), tool.name, _arguments(tool)) for index, tool in enumerate(request.tools)]
        lines = []
        for message in request.messages:
            for part in message.parts:
                if isinstance(part, ToolCall):
                    calls.append(part)
                elif isinstance(part, Text):
                    lines.append(part.text)
                else:
                    lines.append(f"Tool Response for tool ID '{part.id}' with name '{part.name}': {part.content}")
        said = "\n".join(lines)
        words = len(said.split())
        choice = Choice(said, TOOL_CALLS if calls else STOP, tool_calls=tuple(calls))
        return Reply(((choice,),), usage=Usage(words, words, 2 * words))


def _arguments(tool: Tool) -> str:
    """The names of a tool's parameters."""
    properties = (tool.parameters or {}).get("properties", {})
    if not isinstance(properties, Mapping):
        kind = {str: "string", bool: "bool", float: "float64", list: "[]interface {}"}.get(type(properties), "<nil>")
        raise ConversationError(f"tool function properties must be a map[string]any, got {kind}")
    return ",".join(sorted(properties))
