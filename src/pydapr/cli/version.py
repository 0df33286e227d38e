"""`dapr version`: which command line this is and which runtime it starts."""

import sys

import pydapr
from pydapr.cli import grammar, home, status

FLAGS = (grammar.Flag("output", "The output format of the version command. Valid values are: json.", short="o"),)

EXAMPLE = """\
# Show both versions
dapr version

# For programs
dapr version --output json
"""


def run(values: grammar.Values, _: list[str]) -> int:
    output = values.text("output")
    if output not in ("", "json"):
        status.failure("An invalid output format was specified.")
        return 1
    return show(values, as_json=output == "json")


def show(values: grammar.Values, as_json: bool) -> int:
    """Print both versions; also what `dapr --version` does."""
    cli, runtime = pydapr.__version__, runtime_version(values)
    if as_json:
        sys.stdout.write(f'{{"Cli version":"{cli}","Runtime version":"{runtime}"}}\n')
    else:
        sys.stdout.write(f"CLI version: {cli} \nRuntime version: {runtime}\n")
    return 0


def runtime_version(values: grammar.Values) -> str:
    """The version of the sidecar that `dapr run` would start with the same flags."""
    program = home.daprd(values)
    if program[0] == sys.executable:
        return pydapr.DAPR_VERSION
    import subprocess

    try:
        answer = subprocess.run([*program, "--version"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "n/a"
    return answer.stdout.decode(errors="replace").strip()
