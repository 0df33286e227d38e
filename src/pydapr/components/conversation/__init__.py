"""Models to converse with: messages in, answers out.

`daprd.opening` opens the models that resources describe; `blocks.conversation` uses them for apps, and takes personal
data out of what goes in and comes out. How a new one is judged: `tests/conformance/test_conversation.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from pydapr.components import Part
from pydapr.lib.record import Record

HUMAN, SYSTEM, AI, TOOL, FUNCTION, GENERIC = "human", "system", "ai", "tool", "function", "generic"
"""Who speaks."""

STOP, TOOL_CALLS = "stop", "tool_calls"
"""Why an answer ended: it is complete, or the model wants tools to be called."""

NO_METADATA: Mapping[str, str] = {}


class ConversationError(Exception):
    """The model could not answer. The message is what the app reads."""


class Text(Record):
    """What somebody says."""

    text: str


class ToolCall(Record):
    """That a tool is to be called; `arguments` is text, JSON as a rule, and not validated."""

    id: str
    name: str
    arguments: str = ""


class ToolResult(Record):
    """What a tool gave for the call with this id."""

    id: str
    name: str
    content: str


class Message(Record):
    """One turn of one speaker."""

    role: str
    parts: tuple[Text | ToolCall | ToolResult, ...]


class Tool(Record):
    """A function of the app that the model may ask for; `parameters` is a JSON schema, None without one."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None


class Request(Record):
    """A conversation so far, and how to answer it.

    `tool_choice` is `auto`, `none`, `required`, the name of one of `tools`, or empty. `cache_seconds` is how long a
    service may keep the prompt for the next request.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = ""
    temperature: float = 0.0
    metadata: Mapping[str, str] = NO_METADATA
    response_format: Mapping[str, Any] | None = None
    cache_seconds: float | None = None


class Usage(Record):
    """Tokens that were counted; the details are by the original's names, those that are known."""

    prompt: int
    completion: int
    total: int
    prompt_details: Mapping[str, int] | None = None
    completion_details: Mapping[str, int] | None = None


class Choice(Record):
    """One answer of several that may be given."""

    content: str
    finish_reason: str = STOP
    index: int = 0
    tool_calls: tuple[ToolCall, ...] = ()


class Reply(Record):
    """What the model says: as a rule one output with one choice. `model` is its name, where the service tells it."""

    outputs: tuple[tuple[Choice, ...], ...]
    model: str = ""
    usage: Usage | None = None


class Conversation(Part, ABC):
    """A model."""

    @abstractmethod
    async def converse(self, request: Request) -> Reply:
        """Answers. Raises `ConversationError`, within a bounded time."""
