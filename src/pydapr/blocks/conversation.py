"""Conversations of the app with models: which model, with personal data or without, under which policies.

Called by the faces; goes on to `components.conversation`. Rules and words are the original's (v1.18.3,
`pkg/api/universal/conversation.go`).
"""

from collections.abc import Mapping

from pydapr.components.conversation import (
    Choice,
    Conversation,
    ConversationError,
    Message,
    Reply,
    Request,
    Text,
    ToolResult,
)
from pydapr.errors import (
    ConversationFailed,
    ConversationInvalid,
    ConversationNotFound,
    ConversationWithoutInputs,
)
from pydapr.policy import operations, resiliency

_ANYTIME = ("", "auto", "none")
_CHOICES = "must be 'auto', 'none', 'required', or a specific tool name matching the tools available to be used"


class Conversations:
    """The models by name."""

    def __init__(self, models: Mapping[str, Conversation], policies: resiliency.Resiliency | None = None) -> None:
        self._models = models
        self.operations = operations.Operations(resiliency.CONVERSATION, ConversationError, policies)

    def check(self, name: str, has_inputs: bool) -> None:
        """Raises `DaprError` when there is no such model, or nothing is said to it."""
        if name not in self._models:
            raise ConversationNotFound(name)
        if not has_inputs:
            raise ConversationWithoutInputs(name)

    async def converse(self, name: str, request: Request, scrubs_reply: bool) -> Reply:
        """What the model says, without personal data if that is wanted. Raises `DaprError`."""
        self.check(name, True)
        request = _with_choice(name, request)
        model = self._models[name]
        try:
            reply = await self.operations.run(name, "", lambda: model.converse(request))
        except operations.Failed as error:
            raise ConversationFailed(name, model.scrub(str(error))) from None
        if not scrubs_reply:
            return reply
        outputs = tuple(tuple(_scrubbed_choice(choice) for choice in choices) for choices in reply.outputs)
        return Reply(outputs, reply.model, reply.usage)


def scrubbed(message: Message) -> Message:
    """`message` without personal data in what is said, and in what tools gave."""
    from pydapr.lib import pii  # few want it, and its patterns take 5 ms

    parts = []
    for part in message.parts:
        if isinstance(part, Text):
            part = Text(pii.scrub(part.text))
        elif isinstance(part, ToolResult):
            part = ToolResult(part.id, part.name, pii.scrub(part.content))
        parts.append(part)
    return Message(message.role, tuple(parts))


def _scrubbed_choice(choice: Choice) -> Choice:
    from pydapr.lib import pii

    return Choice(pii.scrub(choice.content), choice.finish_reason, choice.index, choice.tool_calls)


def _with_choice(name: str, request: Request) -> Request:
    """The request with the choice of tools that is meant. Raises `ConversationInvalid`."""
    wanted = request.tool_choice or ("auto" if request.tools else "")
    if wanted == "required" and not request.tools:
        raise ConversationInvalid(name, f"tool choice {_CHOICES}")
    if wanted not in (*_ANYTIME, "required") and request.tools and all(tool.name != wanted for tool in request.tools):
        raise ConversationInvalid(name, f"tool choice selected was not found. It {_CHOICES}")
    if wanted == request.tool_choice:
        return request
    return Request(
        request.messages, request.tools, wanted, request.temperature, request.metadata, request.response_format,
        request.cache_seconds,
    )  # fmt: skip
