"""The conversation API of a sidecar over HTTP and gRPC, with the model that echoes."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import wrappers_pb2
from tests.integration.grpc_app import DAPR, failure
from tests.integration.harness import Sidecar, World

from pydapr.proto.dapr.proto.runtime.v1 import ai_pb2

COMPONENT = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: echo}
spec: {type: conversation.echo, version: v1}
"""


@pytest.fixture(scope="module")
def running(shared_world: World) -> Sidecar:
    shared_world.write("resources-talk/echo.yaml", COMPONENT)
    return shared_world.daprd(
        "talk", None, "--resources-path", str(shared_world.folder / "resources-talk")
    ).await_ready()


@pytest.fixture
def sidecar(running: Sidecar) -> Iterator[Sidecar]:
    yield running
    running.disconnect()


@pytest.fixture
def channel(running: Sidecar) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{running.grpc}") as made:
        yield made


def post(sidecar: Sidecar, version: str, body: object, name: str = "echo") -> tuple[int, Any]:
    reply = sidecar.call("POST", f"/v1.0-{version}/conversation/{name}/converse", body=json.dumps(body).encode())
    return reply.status, json.loads(reply.body)


def alpha2(channel: grpc.Channel, request: ai_pb2.ConversationRequestAlpha2) -> ai_pb2.ConversationResponseAlpha2:
    call = channel.unary_unary(
        f"{DAPR}ConverseAlpha2",
        request_serializer=ai_pb2.ConversationRequestAlpha2.SerializeToString,
        response_deserializer=ai_pb2.ConversationResponseAlpha2.FromString,
    )
    answer = call(request, timeout=10)
    assert isinstance(answer, ai_pb2.ConversationResponseAlpha2)
    return answer


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"ofUser": {"content": [{"text": text}]}}]}


def test_alpha1_answers_with_all_that_was_said(sidecar: Sidecar) -> None:
    inputs = [{"content": "well hello"}, {"content": "from 10.8.9.1", "scrubPII": True, "role": "system"}]
    status, told = post(sidecar, "alpha1", {"inputs": inputs, "contextID": "mine"})
    assert (status, told) == (200, {"contextID": "mine", "outputs": [{"result": "well hello\nfrom <IP>"}]})


def test_alpha1_gives_parameters_back(sidecar: Sidecar) -> None:
    parameter = {"@type": "type.googleapis.com/google.protobuf.Int64Value", "value": "7"}
    status, told = post(sidecar, "alpha1", {"inputs": [{"content": "hi"}], "parameters": {"most": parameter}})
    assert (status, told) == (200, {"outputs": [{"result": "hi", "parameters": {"most": parameter}}]})


def test_alpha2_answers_with_choices_and_counts_words(sidecar: Sidecar) -> None:
    status, told = post(sidecar, "alpha2", {"inputs": [said("well hello there")], "contextId": "mine"})
    choice = {"finishReason": "stop", "message": {"content": "well hello there"}}
    usage = {"completionTokens": "3", "promptTokens": "3", "totalTokens": "6"}
    assert (status, told) == (200, {"contextId": "mine", "outputs": [{"choices": [choice], "usage": usage}]})


def test_replies_are_scrubbed_when_that_is_wanted(sidecar: Sidecar) -> None:
    _, told = post(sidecar, "alpha2", {"inputs": [said("write to a@b.example")], "scrubPii": True})
    assert told["outputs"][0]["choices"][0]["message"]["content"] == "write to <EMAIL_ADDRESS>"


def test_every_tool_that_is_offered_is_asked_for(channel: grpc.Channel) -> None:
    request = ai_pb2.ConversationRequestAlpha2(name="echo")
    request.inputs.add().messages.add().of_user.content.add(text="weather?")
    tool = request.tools.add().function
    tool.name = "weather"
    tool.parameters.update({"type": "object", "properties": {"town": {"type": "string"}, "day": {"type": "string"}}})
    [choice] = alpha2(channel, request).outputs[0].choices
    assert choice.finish_reason == "tool_calls"
    assert [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls] == [
        ("0", "weather", "day,town")
    ]


def test_all_kinds_of_messages_are_taken(channel: grpc.Channel) -> None:
    request = ai_pb2.ConversationRequestAlpha2(name="echo")
    messages = request.inputs.add(scrub_pii=True).messages
    messages.add().of_developer.content.add(text="developer")
    messages.add().of_system.content.add(text="system")
    assistant = messages.add().of_assistant
    assistant.content.add(text="assistant")
    assistant.tool_calls.add(id="7").function.name = "weather"
    result = messages.add().of_tool
    result.tool_id, result.name = "7", "weather"
    result.content.add(text="rain, says a@b.example")
    [choice] = alpha2(channel, request).outputs[0].choices
    assert choice.message.content == (
        "developer\nsystem\nassistant\nTool Response for tool ID '7' with name 'weather': rain, says <EMAIL_ADDRESS>"
    )
    assert [call.function.name for call in choice.message.tool_calls] == ["weather"]


@pytest.mark.parametrize(
    ("version", "name", "body", "code", "message"),
    [
        ("alpha1", "none", {"inputs": [{"content": "hi"}]}, "ERR_CONVERSATION_NOT_FOUND", "component none"),
        ("alpha2", "none", {"inputs": [said("hi")]}, "ERR_CONVERSATION_NOT_FOUND", "component none"),
        ("alpha1", "echo", {}, "ERR_CONVERSATION_MISSING_INPUTS", "missing inputs in request"),
        ("alpha2", "echo", {}, "ERR_CONVERSATION_MISSING_INPUTS", "missing inputs in request"),
        ("alpha2", "echo", {"inputs": [{"messages": [{}]}]}, "ERR_CONVERSATION_INVALID_PARMS", "cannot be nil"),
        (
            "alpha2",
            "echo",
            {"inputs": [said("hi")], "toolChoice": "required"},
            "ERR_CONVERSATION_INVALID_PARMS",
            "tool",
        ),
        ("alpha1", "echo", [], "ERR_MALFORMED_REQUEST", "a JSON object is wanted"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    sidecar: Sidecar, version: str, name: str, body: object, code: str, message: str
) -> None:
    status, told = post(sidecar, version, body, name)
    assert (status, told["errorCode"]) == (400, code)
    assert message in told["message"]


def test_a_tool_that_is_not_offered_cannot_be_chosen(channel: grpc.Channel) -> None:
    request = ai_pb2.ConversationRequestAlpha2(name="echo", tool_choice="other")
    request.inputs.add().messages.add().of_user.content.add(text="hi")
    request.tools.add().function.name = "weather"
    code, text = failure(lambda: alpha2(channel, request))
    assert code == "INVALID_ARGUMENT"
    assert "was not found" in text


def test_a_broken_schema_is_told(channel: grpc.Channel) -> None:
    request = ai_pb2.ConversationRequestAlpha2(name="echo")
    request.inputs.add().messages.add().of_user.content.add(text="hi")
    tool = request.tools.add().function
    tool.name = "weather"
    tool.parameters.update({"properties": "none"})
    code, text = failure(lambda: alpha2(channel, request))
    assert code == "INTERNAL"
    assert text == (
        "failed conversing with component echo: tool function properties must be a map[string]any, got string"
    )


def test_conversations_are_counted(sidecar: Sidecar) -> None:
    post(sidecar, "alpha1", {"inputs": [{"content": "hi"}]})
    page = sidecar.call("GET", "/metrics", port=sidecar.metrics).body.decode()
    assert any(
        line.startswith("dapr_component_conversation_count{") and 'success="true"' in line and "operation" not in line
        for line in page.splitlines()
    )


def test_parameters_are_packed_messages(channel: grpc.Channel) -> None:
    request = ai_pb2.ConversationRequest(name="echo")
    request.inputs.add(content="hi")
    request.parameters["most"].Pack(wrappers_pb2.Int64Value(value=7))
    call = channel.unary_unary(
        f"{DAPR}ConverseAlpha1",
        request_serializer=ai_pb2.ConversationRequest.SerializeToString,
        response_deserializer=ai_pb2.ConversationResponse.FromString,
    )
    answer = call(request, timeout=10)
    assert answer.outputs[0].parameters["most"] == request.parameters["most"]
