"""The messages of the conversation API, which both faces have in common, and what the block makes of them.

Used by `api.http.conversation` and `api.grpc.conversation`; asks `blocks.conversation`. What becomes of which message
is the original's (v1.18.3, `pkg/api/universal/conversation.go`).
"""

from typing import TYPE_CHECKING, Any

from pydapr.blocks.conversation import Conversations, scrubbed
from pydapr.components.conversation import (
    AI,
    FUNCTION,
    GENERIC,
    HUMAN,
    SYSTEM,
    TOOL,
    Choice,
    Message,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from pydapr.errors import ConversationInvalid

if TYPE_CHECKING:
    from pydapr.proto.dapr.proto.runtime.v1 import ai_pb2

_ROLES = {"system": SYSTEM, "assistant": AI, "ai": AI, "tool": TOOL, "function": FUNCTION, "generic": GENERIC}
_KINDS = {"of_developer": HUMAN, "of_system": SYSTEM, "of_user": HUMAN, "of_assistant": AI, "of_tool": TOOL}


async def converse_alpha1(
    conversations: Conversations, asked: "ai_pb2.ConversationRequest"
) -> "ai_pb2.ConversationResponse":
    """Plain text in and out. Raises `DaprError`."""
    from pydapr.proto.dapr.proto.runtime.v1 import ai_pb2

    conversations.check(asked.name, bool(asked.inputs))
    messages = []
    for given in asked.inputs:
        message = Message(_ROLES.get(given.role, HUMAN), (Text(given.content),))
        messages.append(scrubbed(message) if given.scrubPII else message)
    request = Request(tuple(messages), temperature=asked.temperature, metadata=dict(asked.metadata))
    reply = await conversations.converse(asked.name, request, asked.scrubPII)
    answer = ai_pb2.ConversationResponse()
    if asked.contextID:
        answer.contextID = asked.contextID
    for choices in reply.outputs:
        result = answer.outputs.add(result=choices[0].content if choices else "")
        for key, value in asked.parameters.items():
            result.parameters[key].CopyFrom(value)
    return answer


async def converse_alpha2(
    conversations: Conversations, asked: "ai_pb2.ConversationRequestAlpha2"
) -> "ai_pb2.ConversationResponseAlpha2":
    """Messages of all kinds in, choices and calls of tools out. Raises `DaprError`."""
    from google.protobuf import json_format

    from pydapr.proto.dapr.proto.runtime.v1 import ai_pb2

    conversations.check(asked.name, bool(asked.inputs))
    messages = []
    for given in asked.inputs:
        for one in given.messages:
            message = _message(asked.name, one)
            messages.append(scrubbed(message) if given.scrub_pii else message)
    with_format, with_cache = asked.HasField("response_format"), asked.HasField("prompt_cache_retention")
    request = Request(
        tuple(messages),
        tuple(_tool(one.function) for one in asked.tools if one.WhichOneof("tool_types") == "function"),
        asked.tool_choice,
        asked.temperature,
        dict(asked.metadata),
        json_format.MessageToDict(asked.response_format) if with_format else None,
        asked.prompt_cache_retention.ToNanoseconds() / 1e9 if with_cache else None,
    )
    reply = await conversations.converse(asked.name, request, asked.scrub_pii)
    answer = ai_pb2.ConversationResponseAlpha2()
    if asked.context_id:
        answer.context_id = asked.context_id
    for choices in reply.outputs:
        result = answer.outputs.add()
        for choice in choices:
            _write_choice(result.choices.add(), choice)
        if reply.model:
            result.model = reply.model
        if reply.usage is not None:
            _write_usage(result.usage, reply.usage)
    return answer


def _message(name: str, given: "ai_pb2.ConversationMessage") -> Message:
    kind = given.WhichOneof("message_types")
    if kind is None:
        raise ConversationInvalid(name, "message type cannot be nil")
    body = getattr(given, kind)
    if kind == "of_tool":
        return Message(TOOL, tuple(ToolResult(body.tool_id, body.name, one.text) for one in body.content))
    parts: list[Text | ToolCall] = [Text(one.text) for one in body.content]
    for call in body.tool_calls if kind == "of_assistant" else ():
        if call.WhichOneof("tool_types") is None:
            raise ConversationInvalid(name, "tool types cannot be nil")
        parts.append(ToolCall(call.id, call.function.name, call.function.arguments))
    return Message(_KINDS[kind], tuple(parts))


def _tool(function: "ai_pb2.ConversationToolsFunction") -> Tool:
    from google.protobuf import json_format

    parameters: dict[str, Any] | None = None
    if function.HasField("parameters"):
        parameters = json_format.MessageToDict(function.parameters)
    return Tool(function.name, function.description, parameters)


def _write_choice(result: "ai_pb2.ConversationResultChoices", choice: Choice) -> None:
    result.finish_reason = choice.finish_reason
    result.index = choice.index
    result.message.content = choice.content
    for call in choice.tool_calls:
        made = result.message.tool_calls.add()
        if call.id:
            made.id = call.id
        made.function.name, made.function.arguments = call.name, call.arguments


def _write_usage(result: "ai_pb2.ConversationResultAlpha2CompletionUsage", usage: Usage) -> None:
    result.prompt_tokens, result.completion_tokens, result.total_tokens = usage.prompt, usage.completion, usage.total
    for name, count in (usage.prompt_details or {}).items():
        setattr(result.prompt_tokens_details, name, count)
    for name, count in (usage.completion_details or {}).items():
        setattr(result.completion_tokens_details, name, count)
