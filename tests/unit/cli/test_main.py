"""`dapr` itself: help, unknown commands, and what they cost."""

import subprocess
import sys

import pytest

from pydapr import DAPR_VERSION, __version__, cli


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0

    out = capsys.readouterr().out
    assert "Usage:\n  dapr [flags]\n  dapr [command]\n\nAvailable Commands:\n" in out
    assert "  list       List all Dapr instances. Supported platforms: Kubernetes and self-hosted\n" in out
    assert out.endswith('Use "dapr [command] --help" for more information about a command.\n')


@pytest.mark.parametrize("line", ["run --help", "run -h -- x", "help run", "-h run"])
def test_every_command_has_help(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line.split()) == 0

    out = capsys.readouterr().out
    assert out.startswith("Run Dapr and (optionally) your application side by side.")
    assert "\n\nUsage:\n  dapr run [flags]\n\nExamples:\n\n" in out
    assert "  -p, --app-port int                    The port your application is listening on (default -1)\n" in out
    assert "components-path" not in out


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rn"]) == 255

    out, err = capsys.readouterr()
    assert out == 'unknown command "rn" for "dapr"\n\nDid you mean this?\n\trun\n\n'
    assert err == f"Error: {out}Run 'dapr --help' for usage.\n"


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stop", "--nope"]) == 255

    out, err = capsys.readouterr()
    assert out == "unknown flag: --nope\n"
    assert err.startswith("Error: unknown flag: --nope\nUsage:\n  dapr stop [flags]\n")


def test_required_flags_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["invoke"]) == 255

    assert capsys.readouterr().out == 'required flag(s) "app-id", "method" not set\n'


@pytest.mark.parametrize("line", ["version", "--version", "-v"])
def test_version_names_both(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line.split()) == 0

    assert capsys.readouterr().out == f"CLI version: {__version__} \nRuntime version: {DAPR_VERSION}\n"


def test_version_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version", "-o", "json"]) == 0
    expected = f'{{"Cli version":"{__version__}","Runtime version":"{DAPR_VERSION}"}}\n'
    assert capsys.readouterr().out == expected

    assert cli.main(["version", "-o", "xml"]) == 1


def imported_by(line: str) -> set[str]:
    """Modules that Python imports for a command beyond those it starts with."""
    program = (
        "import sys; before = set(sys.modules)\n"
        f"from pydapr.cli import main; main({line.split()!r})\n"
        "sys.stderr.write(' '.join(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("--help", set()),
        ("--version", {"home", "version"}),
        ("version", {"home", "version"}),
        ("invoke --help", {"invoke", "processes", "sidecars"}),
    ],
)
def test_help_and_version_import_little(line: str, ours: set[str]) -> None:
    imported = imported_by(line)

    expected = {
        "pydapr",
        "pydapr.cli",
        "pydapr.lib",
        "pydapr.lib.compiled",
        *(f"pydapr.cli.{name}" for name in {"grammar", "status", "usage", *ours}),
    }
    assert {name for name in imported if name.startswith("pydapr")} == expected
    heavy = {"asyncio", "http", "json", "socket", "subprocess", "yaml", "click", "dataclasses", "inspect"}
    assert not {name.partition(".")[0] for name in imported} & heavy


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [("cli --version", 0, "CLI version: "), ("dapr list -o x", 1, ""), ("nothing", 2, "")],
)
def test_the_package_starts_the_process_that_is_named(line: str, code: int, text: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pydapr", *line.split()], capture_output=True, text=True)

    assert (done.returncode, done.stdout.startswith(text)) == (code, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_flags(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0

    out = capsys.readouterr().out
    assert "invoke" in out
    assert "app-health-threshold" in out
    assert "components-path" not in out
