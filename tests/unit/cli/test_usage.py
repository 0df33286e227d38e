"""The layout of help."""

from pydapr.cli import grammar, usage


def test_flags_are_sorted_aligned_and_show_their_defaults() -> None:
    flags = [
        grammar.Flag("port", "The port", "p", "int", -1),
        grammar.Flag("level", "The level", default="info"),
        grammar.Flag("all", "All", kind="bool"),
        grammar.Flag("old", "Old", deprecated="gone"),
        grammar.Flag("interval", "Interval", kind="int", default=0),
    ]

    assert usage.table(flags) == (
        "      --all            All\n"
        "      --interval int   Interval\n"
        '      --level string   The level (default "info")\n'
        "  -p, --port int       The port (default -1)"
    )


def test_typing_errors_find_the_command_that_was_meant() -> None:
    commands = ["completion", "invoke", "list", "run", "stop", "version"]

    assert usage.suggest("lsit", commands) == ["list"]
    assert usage.suggest("RU", commands) == ["run"]
    assert usage.suggest("ver", commands) == ["version"]
    assert usage.suggest("dashboard", commands) == []
