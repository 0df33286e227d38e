"""The tree's own rules: names, sizes, docstrings, no orphans, what a start may import, documentation complete.

What import-linter can say stands in `.importlinter`; here is the rest of what holds for every file.
"""

import ast
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from importlib import import_module
from pathlib import Path

import pytest
from tests import core

from pydapr import cli, components, errors
from pydapr.blocks.pubsub import errors as pubsub_errors
from pydapr.cli import embedded
from pydapr.daprd import flags, measures
from pydapr.lib import compiled, pflag
from pydapr.observe import metrics
from pydapr.placement import flags as placement_flags
from pydapr.placement import metrics as placement_metrics
from pydapr.resources import configuration
from pydapr.scheduler import flags as scheduler_flags
from pydapr.scheduler import metrics as scheduler_metrics
from pydapr.sentry import flags as sentry_flags

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "pydapr"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if not path.name.endswith("_pb2.py"))
"""What people write; modules that protoc has made from the contracts in `proto` are not among them."""
TESTS = sorted((ROOT / "tests").rglob("*.py"))
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

MAX_DEPTH = 2
MAX_FILE = 600
MAX_FUNCTION = 60
NO_NAMES = {"utils", "util", "common", "manager", "helpers", "misc", "processor", "universal", "todo", "base"}

LONG_FUNCTIONS = {
    "pydapr/daprd/flags.py:_settings": "one line per setting and nothing else",
    "pydapr/wire/hpack.py:_read_fields": "hot path: a call per field costs more than all else it does",
}
"""Functions over the limit, each with the reason why it is better in one piece."""

NOT_IN_USE_YET: dict[str, str] = {}
"""Modules that no process reaches so far, each with what it waits for."""

GIVEN_BY_ASYNCIO = "import sys, asyncio, asyncio.runners; before = set(sys.modules)"


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT / "src" if path.is_relative_to(ROOT / "src") else ROOT))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# -- form --


@pytest.mark.parametrize("path", [*SOURCES, *TESTS, *EXAMPLES], ids=_short)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(_tree(path))


@pytest.mark.parametrize("path", SOURCES, ids=_short)
def test_depth_below_the_package_is_two_at_most(path: Path) -> None:
    assert len(path.relative_to(PACKAGE).parents) - 1 <= MAX_DEPTH


@pytest.mark.parametrize("path", SOURCES, ids=_short)
def test_a_name_says_what_is_inside(path: Path) -> None:
    assert not NO_NAMES & set(path.relative_to(PACKAGE).with_suffix("").parts)


@pytest.mark.parametrize("path", SOURCES, ids=_short)
def test_a_long_file_says_why(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    docstring = ast.get_docstring(_tree(path)) or ""
    assert lines <= MAX_FILE or "one file" in docstring.lower(), f"{lines} lines, and not why it is one file"


def _functions(path: Path) -> dict[str, int]:
    """Name → lines of each function of a file."""
    return {
        f"{_short(path)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_components_use_no_thread_that_holds_the_process_at_its_end() -> None:
    """The threads of asyncio's own pool are waited for; `components.drivers.thread` has others."""
    given = [(path, re.search(r"to_thread\(|run_in_executor\(None", path.read_text("utf-8"))) for path in SOURCES]

    assert not [_short(path) for path, found in given if found and "components" in path.parts]


def test_functions_are_short() -> None:
    long = {name: lines for path in SOURCES for name, lines in _functions(path).items() if lines > MAX_FUNCTION}
    assert long.keys() == LONG_FUNCTIONS.keys(), long


# -- no orphans --


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): path for path in SOURCES}


def _imports(path: Path) -> set[str]:
    """Modules of ours that a file imports anywhere in it, or names as text for importlib."""
    found = set[str]()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    parents = {name[: dot.start()] for name in found for dot in re.finditer(r"\.", name)}
    return (found | parents) & MODULES.keys()


def _is_component(module: str) -> bool:
    """Whether a module holds what a resource names by its type: `components.find` leads to it."""
    if not module.startswith("pydapr.components."):
        return False
    calls = [node for node in ast.walk(_tree(MODULES[module])) if isinstance(node, ast.Call)]
    marks = [call.args[0] for call in calls if getattr(call.func, "id", "") == "component" and call.args]
    types = [mark.value for mark in marks if isinstance(mark, ast.Constant) and isinstance(mark.value, str)]
    return any(components.place(type_) == module for type_ in types)


def test_every_module_is_reached_from_a_process() -> None:
    commands = {f"pydapr.cli.{module}" for module, _ in cli.COMMANDS.values()}
    left = ["pydapr.__main__", *commands, *filter(_is_component, MODULES)]
    reached: set[str] = set()
    while left:
        module = left.pop()
        if module in reached:
            continue
        reached.add(module)
        left += _imports(MODULES[module])
        parent = module.rpartition(".")[0]
        left += [parent] if parent else []
    assert MODULES.keys() - reached == NOT_IN_USE_YET.keys()


# -- what a start may import --


def _new_modules(statements: str) -> set[str]:
    """What is loaded in a fresh process that runs `statements` after it has imported asyncio."""
    code = f"{GIVEN_BY_ASYNCIO}\n{statements}\nprint(*sorted(set(sys.modules) - before))"
    answer = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


def _foreign(modules: set[str]) -> set[str]:
    """Top-level names that are neither ours nor the standard library's nor made by a compiler."""
    tops = {module.partition(".")[0] for module in modules}
    known = sys.stdlib_module_names | {"pydapr", "cython_runtime"}
    return {top for top in tops if top not in known and not top.startswith(("_cython", "_sysconfigdata"))}


HEAVY = {
    "argparse", "ctypes", "email", "encodings.idna", "hashlib", "hmac", "http.client", "http.server", "multiprocessing",
    "pdb", "sqlite3", "unittest", "urllib.request", "uuid", "xml", "zipfile",
}  # fmt: skip
"""Modules of the standard library that a start does without; each costs a millisecond or more."""


def test_daprd_imports_one_library_and_nothing_heavy() -> None:
    loaded = _new_modules("from pydapr.daprd import start, runtime")
    assert _foreign(loaded) - {"pydapr__mypyc"} == {"httptools", "mypy_extensions"}
    assert not loaded & HEAVY
    assert not [module for module in loaded if module.startswith("pydapr.cli")]


def test_what_follows_placement_and_scheduler_imports_no_further_library() -> None:
    start = "from pydapr.daprd import actors, jobs, start, runtime; from pydapr.peers import scheduler"
    loaded = _new_modules(start)
    assert _foreign(loaded) - {"pydapr__mypyc"} == {"httptools", "mypy_extensions"}
    assert not loaded & HEAVY - {"hashlib"}  # the ring of hosts needs it


@pytest.mark.parametrize("start", ["pydapr.sentry.serving", "pydapr.daprd.identity", "pydapr.controlplane.identity"])
def test_certificates_need_no_library_but_the_one_for_them(start: str) -> None:
    assert "google" not in _foreign(_new_modules(f"import {start}"))


def test_help_of_the_command_line_imports_next_to_nothing() -> None:
    code = "import sys; from pydapr import cli; cli.main(['--help']); print(*sys.modules, file=sys.stderr)"
    answer = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(answer.stderr.split())
    assert _foreign(loaded) <= {"sitecustomize", "usercustomize"} | _site_packages_at_start()
    assert not loaded & {"asyncio", "subprocess", "json", "yaml", "socket", "ssl", "logging", *HEAVY}


def _site_packages_at_start() -> set[str]:
    """What `.pth` files of this environment load into every process."""
    code = "import sys; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return _foreign(set(answer.stdout.split()))


def _free_ports(count: int) -> list[str]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


def _is_listening(port: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _loaded_by_a_sidecar(tmp_path: Path, *flags: str) -> set[str]:
    """The modules of a sidecar that listens."""
    http, grpc, internal, metrics = _free_ports(4)
    arguments = ["--app-id", "tree", "--dapr-http-port", http, "--dapr-grpc-port", grpc]
    arguments += ["--dapr-internal-grpc-port", internal, "--metrics-port", metrics, *flags]
    environment = {**os.environ, "DAPR_RUNTIME_PATH": str(tmp_path), "HOME": str(tmp_path)}
    trace = tmp_path / "imports"
    with trace.open("wb") as output:
        sidecar = subprocess.Popen(
            [sys.executable, "-P", "-X", "importtime", "-m", "pydapr", "daprd", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
        try:
            deadline = time.monotonic() + 30
            while not _is_listening(http):
                assert time.monotonic() < deadline and sidecar.poll() is None
                time.sleep(0.02)
        finally:
            sidecar.send_signal(signal.SIGTERM)
            sidecar.wait(20)
    loaded = set(re.findall(r"^import time:.*\| +(\S+)$", trace.read_text(), re.MULTILINE))
    assert "pydapr.daprd.runtime" in loaded
    return loaded


LIBRARIES = {"yaml", "msgspec", "google.protobuf", "grpc", "zeroconf", "cryptography", "joserfc"}


def test_a_running_sidecar_without_resources_has_loaded_no_yaml(tmp_path: Path) -> None:
    assert not _loaded_by_a_sidecar(tmp_path) & (LIBRARIES | HEAVY - {"sqlite3"})


def test_a_running_sidecar_with_the_components_of_dapr_run_has_loaded_yaml_alone(tmp_path: Path) -> None:
    flags = [argument for path in embedded.resources(tmp_path) for argument in ("--resources-path", path)]
    loaded = _loaded_by_a_sidecar(tmp_path, *flags)
    assert {"yaml", "sqlite3"} == loaded & (LIBRARIES | HEAVY)
    assert "pydapr.components.drivers.sqlite_queue" in loaded  # that of pub/sub


# -- documentation --


def _text(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("flag", flags.FLAGS, ids=lambda flag: flag.name)
def test_every_flag_of_daprd_is_documented(flag: pflag.Flag) -> None:
    assert f"`--{flag.name}`" in _text("daprd.md")


@pytest.mark.parametrize("flag", [*sentry_flags.FLAGS, pflag.Flag("kubeconfig", "", "")], ids=lambda flag: flag.name)
def test_every_flag_of_sentry_is_documented(flag: pflag.Flag) -> None:
    assert f"`--{flag.name}`" in _text("sentry.md")


@pytest.mark.parametrize("flag", scheduler_flags.FLAGS, ids=lambda flag: flag.name)
def test_every_flag_of_the_scheduler_is_documented(flag: pflag.Flag) -> None:
    assert f"`--{flag.name}`" in _text("scheduler.md")


@pytest.mark.parametrize(
    "flag",
    [flag for flag in placement_flags.FLAGS if not flag.hidden],
    ids=lambda flag: flag.name,
)
def test_every_flag_of_placement_is_documented(flag: pflag.Flag) -> None:
    assert f"`--{flag.name}`" in _text("placement.md")


@pytest.mark.parametrize("command", [*cli.COMMANDS, "help"])
def test_every_command_is_documented(command: str) -> None:
    assert re.search(rf"^## dapr {command}$", _text("dapr-cli.md"), re.MULTILINE)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_flag_of_a_command_is_documented(command: str) -> None:
    section = _text("dapr-cli.md").partition(f"\n## dapr {command}\n")[2].partition("\n## ")[0]
    module = import_module(f"pydapr.cli.{cli.COMMANDS[command][0]}")
    missing = [flag.name for flag in module.FLAGS if f"`--{flag.name}`" not in section]
    assert not missing


def _variables() -> set[str]:
    """Environment variables that the sources name."""
    found = set[str]()
    for path in SOURCES:
        if path.name == "errors.py":
            continue  # reasons of errors are named like variables
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'environ(?:\.get\(|\[)"([A-Z_0-9]+)"', text))
        found |= set(re.findall(r'"(DAPR_[A-Z_0-9]+)"', text))
    return found - {"COMPUTERNAME", "DAPR_PORT", "PWD", "TMPDIR"}  # DAPR_PORT is a key in Consul


@pytest.mark.parametrize("variable", sorted(_variables()))
def test_every_environment_variable_is_documented(variable: str) -> None:
    assert f"`{variable}`" in _text("daprd.md") + _text("dapr-cli.md") + _text("sentry.md") + _text("placement.md")


def _codes(kind: type[errors.DaprError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))


def test_every_error_code_is_documented() -> None:
    pages = (
        "service-invocation", "daprd", "secrets", "state", "configuration-api", "lock", "cryptography", "bindings",
        "pubsub", "conversation", "actors", "reminders",
    )  # fmt: skip
    text = "".join(_text(f"{page}.md") for page in pages)
    assert pubsub_errors.AboutPubSub.__subclasses__()  # imported, and so among the codes
    assert not [code for code in _codes(errors.DaprError) - {"ERROR"} if f"`{code}`" not in text]


@pytest.mark.parametrize("kind", sorted(components.KINDS - {"middleware", "nameresolution"}))
def test_every_option_of_a_component_is_documented(kind: str) -> None:
    """`scripts/docs` makes these pages; those of middleware and name resolution are written by hand."""
    bundle = json.loads(_text("components/bundle.json"))["components"]
    assert [entry for entry in bundle if entry["type"] == kind] == [one.entry() for one in components.available(kind)]
    for found in components.available(kind):
        assert f"## {found.name.replace('/', ' ')}\n" in _text(f"components/{kind}.md")


def test_every_metric_is_documented() -> None:
    text = _text("metrics.md")
    registry = metrics.Registry()
    measures.Measures(registry, configuration.Metrics(record_error_codes=True))
    assert not [name for name in registry.names if f"`{name}`" not in text]


def test_every_metric_of_the_scheduler_is_documented() -> None:
    text = _text("scheduler.md")
    assert not [name for name in scheduler_metrics.Counts().registry.names if f"`{name}`" not in text]


def test_every_metric_of_placement_is_documented() -> None:
    text = _text("placement.md")
    names = placement_metrics.Metrics(dict).registry.names
    assert not [name for name in names if f"`{name}`" not in text]


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_short)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def test_every_page_is_reached_from_the_readme() -> None:
    left, reached = [ROOT / "README.md"], set[Path]()
    while left:
        page = left.pop()
        if page in reached:
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)\s#]+\.md)", page.read_text(encoding="utf-8"))
        left += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert set(PAGES) <= reached


def test_compiled_functions_do_not_share_the_names_of_exceptions() -> None:
    """mypyc gives a name one type per function, and fails at run time where a second `except` has another."""
    shared = []
    for path in core.sources():
        for function in ast.walk(_tree(path)):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            types: dict[str, set[str]] = {}
            for node in ast.walk(function):
                if isinstance(node, ast.ExceptHandler) and node.name and node.type:
                    types.setdefault(node.name, set()).add(ast.unparse(node.type))
            shared += [f"{_short(path)}:{function.lineno} {found}" for found, kinds in types.items() if len(kinds) > 1]

    assert not shared


def test_the_core_is_compiled_where_it_can_be() -> None:
    """A change that mypyc does not take would otherwise go unseen: the plain modules do the same, slower."""
    header = Path(sysconfig.get_path("include"), "Python.h")
    if os.environ.get("PYDAPR_PURE") or not header.exists() or not shutil.which("cc"):
        pytest.skip("plain Python is wanted, or there is no compiler")

    assert compiled.LIBRARY in sys.modules, "pip install -v -e . says why"
