"""Which APIs are open (`spec.api.allowed` and `denied` of the Configuration). Pure; asked when the faces are built.

A rule names an API (`state`), its version (`v1`, `v1alpha1`) and a protocol (`http`, `grpc`); it concerns that
protocol only. What a rule of the denied ones names is closed. As soon as one rule allows anything, everything
that no rule allows is closed. Health checks are always open. (v1.18.3, `pkg/api/http/endpoints`,
`pkg/api/grpc/endpoints.go`.)
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

HTTP, GRPC = "http", "grpc"
NOT_AVAILABLE = "requested endpoint is not available"
"""What gRPC answers, as UNIMPLEMENTED, for a closed method."""

RUNTIME_PREFIX = "/dapr.proto.runtime."
"""Only methods that begin like this are Dapr's own; all others belong to apps and are not concerned."""

Rules = Iterable[tuple[str, str, str]]
"""Name, version and protocol of each rule."""

_VERSIONS = {"v1.0": "v1", "v1.0-alpha1": "v1alpha1", "v1.0-alpha2": "v1alpha2", "v1.0-beta1": "v1beta1"}

GRPC_METHODS: Mapping[str, str] = {
    "invoke.v1": "InvokeService",
    "state.v1": "GetState GetBulkState SaveState DeleteState DeleteBulkState ExecuteStateTransaction",
    "state.v1alpha1": "QueryStateAlpha1",
    "publish.v1": "PublishEvent BulkPublishEvent",
    "publish.v1alpha1": "BulkPublishEventAlpha1",
    "bindings.v1": "InvokeBinding",
    "secrets.v1": "GetSecret GetBulkSecret",
    "actors.v1": (
        "RegisterActorTimer UnregisterActorTimer RegisterActorReminder GetActorReminder UnregisterActorReminder "
        "UnregisterActorRemindersByType ListActorReminders GetActorState ExecuteActorStateTransaction InvokeActor"
    ),
    "actors.v1alpha1": "SubscribeActorEventsAlpha1",
    "metadata.v1": "GetMetadata SetMetadata",
    "configuration.v1alpha1": ("GetConfigurationAlpha1 SubscribeConfigurationAlpha1 UnsubscribeConfigurationAlpha1"),
    "configuration.v1": "GetConfiguration SubscribeConfiguration UnsubscribeConfiguration",
    "lock.v1alpha1": "TryLockAlpha1",
    "unlock.v1alpha1": "UnlockAlpha1",
    "subtlecrypto.v1alpha1": (
        "SubtleGetKeyAlpha1 SubtleEncryptAlpha1 SubtleDecryptAlpha1 SubtleSignAlpha1 SubtleVerifyAlpha1 "
        "SubtleWrapKeyAlpha1 SubtleUnwrapKeyAlpha1"
    ),
    "crypto.v1alpha1": "EncryptAlpha1 DecryptAlpha1",
    "workflows.v1alpha1": (
        "StartWorkflowAlpha1 GetWorkflowAlpha1 TerminateWorkflowAlpha1 RaiseEventWorkflowAlpha1 "
        "PurgeWorkflowAlpha1 PauseWorkflowAlpha1 ResumeWorkflowAlpha1"
    ),
    "workflows.v1beta1": (
        "StartWorkflowBeta1 GetWorkflowBeta1 TerminateWorkflowBeta1 RaiseEventWorkflowBeta1 "
        "PurgeWorkflowBeta1 PauseWorkflowBeta1 ResumeWorkflowBeta1"
    ),
    "jobs.v1alpha1": ("ScheduleJobAlpha1 DeleteJobAlpha1 GetJobAlpha1 DeleteJobsByPrefixAlpha1 ListJobsAlpha1"),
    "jobs.v1": "ScheduleJob DeleteJob GetJob DeleteJobsByPrefix ListJobs",
    "shutdown.v1": "Shutdown",
    "subscribe.v1alpha1": "SubscribeTopicEventsAlpha1",
    "conversation.v1alpha1": "ConverseAlpha1",
    "conversation.v1alpha2": "ConverseAlpha2",
}
"""The methods of the service `dapr.proto.runtime.v1.Dapr` that a rule `<name>.<version>` names."""


class Group(NamedTuple):
    """The API that an HTTP route belongs to, and its version."""

    name: str
    version: str


def group(path: str) -> Group:
    """The group of a route: `/v1.0-alpha1/state/...` is version v1alpha1 of `state`."""
    parts = path.split("/", 3)
    version, name = (parts[1], parts[2]) if len(parts) > 2 else ("", "")
    return Group(name, _VERSIONS.get(version, version))


def http(allowed: Rules, denied: Rules) -> Callable[[str], bool]:
    """Whether the HTTP route with a given path (`/v1.0/metadata`, `/v1.0/invoke/*`) is open."""
    opened, closed = _keys(allowed, "{1}/{0}", HTTP), _keys(denied, "{1}/{0}", HTTP)

    def is_open(path: str) -> bool:
        if group(path).name == "healthz":
            return True
        return not _matches(path, closed) and (not opened or _matches(path, opened))

    return is_open


def grpc(allowed: Rules, denied: Rules) -> Callable[[str], bool]:
    """Whether the gRPC method with a given full name (`/dapr.proto.runtime.v1.Dapr/GetState`) is open."""
    opened, closed = _methods(allowed), _methods(denied)
    # The original opens everything when no allowed rule names a method it knows, such as after a misspelling.
    opens_all = not _keys(allowed, "{0}.{1}", GRPC)

    def is_open(method: str) -> bool:
        if not method.startswith(RUNTIME_PREFIX):
            return True
        return method not in closed and (opens_all or method in opened)

    return is_open


def _keys(rules: Rules, form: str, protocol: str) -> frozenset[str]:
    return frozenset(form.format(name, version) for name, version, of in rules if of.lower() == protocol)


def _matches(path: str, keys: frozenset[str]) -> bool:
    """By group, or in the older way by the beginning of the path (`v1.0/state`)."""
    belongs = group(path)
    return f"{belongs.version}/{belongs.name}" in keys or any(path[1:].startswith(key) for key in keys)


def _methods(rules: Rules) -> frozenset[str]:
    return frozenset(
        f"{RUNTIME_PREFIX}v1.Dapr/{method}"
        for key in _keys(rules, "{0}.{1}", GRPC)
        for method in GRPC_METHODS.get(key, "").split()
    )
