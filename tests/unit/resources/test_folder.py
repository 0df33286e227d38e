"""Folders of resources: rules and texts of the original, tests/integration/suite/daprd/resources."""

from pathlib import Path

import pytest

from pydapr import resources
from pydapr.resources import component

COMPONENT = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: {name}{more}}}
spec: {{type: {type}, version: v1}}
"""


def load(folder: Path, *documents: str, app_id: str = "app", namespace: str = "") -> resources.Resources:
    (folder / "all.yaml").write_text("\n---\n".join(documents))
    return resources.load_folder([str(folder)], app_id, namespace)


def a_component(name: str, type_: str = "state.in-memory", namespace: str = "") -> str:
    more = f", namespace: {namespace}" if namespace else ""
    return COMPONENT.format(name=name, more=more, type=type_)


def test_without_folders_there_are_no_resources() -> None:
    assert resources.load_folder([], "app", "") == resources.Resources()


def test_files_are_read_in_the_order_of_folders_and_names_and_not_below(tmp_path: Path) -> None:
    for folder, file in (("b", "2.yml"), ("b", "1.YAML"), ("a", "1.yaml"), ("b/sub", "3.yaml")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / file).write_text(a_component(f"{folder}{file[0]}"))
    loaded = resources.load_folder([str(tmp_path / "b"), str(tmp_path / "a")], "app", "")
    assert [found.name for found in loaded.components] == ["b1", "b2", "a1"]


def test_a_missing_folder_is_fatal(tmp_path: Path) -> None:
    with pytest.raises(resources.ResourceError) as refusal:
        resources.load_folder(["/nonexist"], "app", "")
    words = "failed to create watcher: failed to add target /nonexist: no such file or directory"
    assert refusal.value.message == words


def test_doubles_are_fatal_and_all_of_them_named(tmp_path: Path) -> None:
    with pytest.raises(resources.ResourceError) as refusal:
        load(tmp_path, *(a_component("foo", type_) for type_ in ("secretstores.local.file", "state.x", "a.b")))
    assert refusal.value.message == (
        "failed to load components: duplicate definition of Component name foo (state.x/v1) "
        "with existing foo (secretstores.local.file/v1)\n"
        "duplicate definition of Component name foo (a.b/v1) with existing foo (secretstores.local.file/v1)"
    )
    assert refusal.value.reason.startswith("duplicate definition of Component name foo (state.x/v1)")


@pytest.mark.parametrize(
    ("namespace", "names"), [("mine", ["abc", "123"]), ("", ["abc", "123", "456"]), ("other", ["123", "456"])]
)
def test_namespaces_count_only_when_the_process_has_one(tmp_path: Path, namespace: str, names: list[str]) -> None:
    documents = [a_component("abc", namespace="mine"), a_component("123"), a_component("456", namespace="other")]
    loaded = load(tmp_path, *documents, namespace=namespace)
    assert [found.name for found in loaded.components] == names


def test_scopes_choose_the_app_before_names_are_compared(tmp_path: Path) -> None:
    scoped = a_component("foo", "a.b") + "scopes: [other]\n"
    loaded = load(tmp_path, scoped, a_component("foo"))
    assert [found.type for found in loaded.components] == ["state.in-memory"]


def test_a_broken_document_is_told_once_per_kind_and_the_others_are_loaded(tmp_path: Path) -> None:
    loaded = load(tmp_path, "a: b: c", a_component("good"))
    assert [found.name for found in loaded.components] == ["good"]
    words = "error converting YAML to JSON: yaml: mapping values are not allowed in this context"
    path = tmp_path / "all.yaml"
    assert loaded.diagnostics["Resiliency"] == (
        resources.Diagnostic("error", "dapr.runtime", f"Could not determine resource type: {words}"),
    )
    for kind in ("Component", "HTTPEndpoint", "MCPServer", "WorkflowAccessPolicy"):
        said = f"daprd load {kind} error when parsing manifests yaml resource in {path}: {words} (document 1)"
        assert loaded.diagnostics[kind] == (resources.Diagnostic("warning", "dapr.runtime.loader.disk", said),)


def test_a_wrong_type_is_told_with_document_and_key(tmp_path: Path) -> None:
    wrong = a_component("bad").replace("version: v1", 'ignoreErrors: "x"')
    loaded = load(tmp_path, a_component("good"), wrong)
    (note,) = loaded.diagnostics["Component"]
    assert note.message.endswith(
        "all.yaml: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into "
        "Go struct field ComponentSpec.spec.ignoreErrors of type bool (document 2)"
    )


def test_a_name_must_fit_into_a_path(tmp_path: Path) -> None:
    (note,) = load(tmp_path, a_component('"a/b%"')).diagnostics["Component"]
    words = """invalid name "a/b%" for "Component": may not contain '/'; may not contain '%' (document 1)"""
    assert note.message.endswith(words)


def test_other_files_are_told_and_other_kinds_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    loaded = load(tmp_path, "kind: Service\nspec: []", a_component("x").replace("v1alpha1", "v1"))
    assert loaded.components == ()
    assert [note.message for note in loaded.diagnostics["Component"]] == [
        "A non-YAML Component file note.txt was detected, it will not be loaded"
    ]
    assert loaded.diagnostics["Resiliency"][0].message == (
        "A non-YAML resiliency file note.txt was detected, it will not be loaded"
    )


def test_doubled_endpoints_are_only_a_warning(tmp_path: Path) -> None:
    endpoint = "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {name: e}\nspec: {baseUrl: http://x}"
    loaded = load(tmp_path, endpoint, endpoint)
    assert loaded.http_endpoints == ()
    assert loaded.diagnostics["HTTPEndpoint"][0].message == (
        "failed to load HTTP endpoints: duplicate definition of HTTPEndpoint name e (http://x) "
        "with existing e (http://x)"
    )


def test_both_versions_of_subscriptions_come_in_order_and_scoped(tmp_path: Path) -> None:
    new = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: new}\nspec: {topic: t}"
    old = "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: old}\nspec: {route: /r}"
    other = new.replace("name: new", "name: far") + "\nscopes: [far]"
    loaded = load(tmp_path, old, other, new, old)
    assert [found.name for found in loaded.subscriptions] == ["old", "new", "old"]
    assert loaded.subscriptions[0].default == "/r"


def test_resiliency_is_the_first_document_of_a_file_whatever_its_version(tmp_path: Path) -> None:
    policy = "kind: Resiliency\nmetadata: {name: r}\nspec: {policies: {timeouts: {fast: 5s}}}"
    assert load(tmp_path, a_component("x"), policy).resiliencies == ()
    assert load(tmp_path, "# only a comment", policy).resiliencies[0].timeouts == {"fast": "5s"}


def test_mcp_servers_and_policies_are_carried_whole(tmp_path: Path) -> None:
    kinds = ("MCPServer", "WorkflowAccessPolicy", "Configuration")
    head = "apiVersion: dapr.io/v1alpha1\nkind: {}\nmetadata: {{name: one}}\nspec: {{a: [1]}}"
    loaded = load(tmp_path, *(head.format(kind) for kind in kinds))
    found = (*loaded.mcp_servers, *loaded.workflow_access_policies, *loaded.configurations)
    assert [(one.kind, one.name, one.content["spec"]) for one in found] == [(kind, "one", {"a": [1]}) for kind in kinds]


def test_a_component_is_read_with_references_unresolved(tmp_path: Path) -> None:
    text = """
apiVersion: dapr.io/v1alpha1
kind: component
Kind: Component
metadata: {name: 123}
auth: {secretStore: vault}
spec:
  type: state.redis
  VERSION: v1
  initTimeout: 1m
  metadata:
  - {name: text, value: "a\\"b<"}
  - {name: number, value: 1.50}
  - {name: switch, value: on}
  - {name: object, value: {b: [1], a: x}}
  - {name: secret, secretKeyRef: {name: s, key: k}}
  - {name: env, envRef: HOME}
  - {name: nothing, value: null}
"""
    (found,) = load(tmp_path, text.replace("kind: component\n", "")).components
    assert (found.name, found.version, found.secret_store) == ("123", "v1", "vault")
    assert (found.category, found.init_timeout_seconds) == ("state", 60.0)
    assert found.log_name == "123 (state.redis/v1)"
    values = {entry.name: entry.value for entry in found.metadata}
    assert values == {
        "text": 'a"b<',
        "number": "1.5",
        "switch": "true",
        "object": '{"a":"x","b":[1]}',
        "secret": None,
        "env": None,
        "nothing": None,
    }
    assert found.metadata[4].secret_key_ref is not None
    assert (found.metadata[4].secret_key_ref.key, found.metadata[5].env_ref) == ("k", "HOME")


@pytest.mark.parametrize("type_", ["workflow.dapr", "workflowbackend.x", "state", "nosuch.x", ""])
def test_types_of_unknown_categories_have_none(type_: str) -> None:
    assert component.Component("x", type=type_).category == ""


def test_an_init_timeout_that_is_no_duration_is_the_default() -> None:
    assert component.Component("x", init_timeout="soon").init_timeout_seconds == 5.0
