"""`python -m pydapr <process> …` starts one of our processes.

Only the process asked for is imported: every sidecar pays for its imports at each start. The console scripts
`dapr` and `daprd` lead to the same functions.
"""

import sys

_PROCESSES = {
    "daprd": "pydapr.daprd",
    "dapr": "pydapr.cli",
    "cli": "pydapr.cli",
    "placement": "pydapr.placement",
    "scheduler": "pydapr.scheduler",
    "sentry": "pydapr.sentry",
}


def main() -> int:
    """Run the process named by the first argument and return its exit code."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    module = _PROCESSES.get(name)
    if module is None:
        wrong = f"unknown process {name!r}\n" if name and name not in ("-h", "--help") else ""
        sys.stderr.write(f"{wrong}Usage: python -m pydapr {{{'|'.join(_PROCESSES)}}} [flags]\n")
        return 2 if wrong or not name else 0
    from importlib import import_module

    sys.argv[0:2] = [name]
    code = import_module(module).main()
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
