"""The command line's grammar, and the words of its errors."""

import pytest

from pydapr.cli import grammar

FLAGS = (
    grammar.Flag("app-id", "", short="a"),
    grammar.Flag("app-port", "", "p", "int", -1),
    grammar.Flag("resources-path", "", kind="strings"),
    grammar.Flag("enable-profiling", "", kind="bool"),
    grammar.Flag("kubernetes", "", "k", "bool"),
    grammar.Flag("old", "", deprecated="use new"),
)


@pytest.mark.parametrize(
    "line",
    ["--app-id x", "--app-id=x", "-a x", "-ax", "-a=x", "-ka x"],
)
def test_a_value_can_be_written_in_many_ways(line: str) -> None:
    values, positional = grammar.parse(FLAGS, line.split())

    assert (values.text("app-id"), positional) == ("x", [])


def test_flags_may_follow_arguments() -> None:
    values, positional = grammar.parse(FLAGS, ["python", "-p", "0x10", "app.py", "--kubernetes"])

    assert (values.number("app-port"), values.switch("kubernetes")) == (16, True)
    assert positional == ["python", "app.py"]


def test_dashes_end_the_flags() -> None:
    values, positional = grammar.parse(FLAGS, ["-a", "x", "--", "app", "--", "-p", "1"])

    assert (values.number("app-port"), positional) == (-1, ["app", "--", "-p", "1"])


def test_lists_are_repeated_or_separated_by_commas() -> None:
    line = ["--resources-path", "a,b", "--resources-path", '"c,d",e']
    values, _ = grammar.parse(FLAGS, line)

    assert values.many("resources-path") == ["a", "b", "c,d", "e"]


def test_switches_can_be_turned_off() -> None:
    values, _ = grammar.parse(FLAGS, ["--enable-profiling=false", "-k=F"])

    assert not values.switch("enable-profiling")
    assert not values.switch("kubernetes")
    assert values.given() == ["enable-profiling", "kubernetes"]


def test_deprecated_flags_work_and_are_noted() -> None:
    values, _ = grammar.parse(FLAGS, ["--old", "x"])

    assert (values.text("old"), [flag.name for flag in values.deprecated]) == ("x", ["old"])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--nope=1", "unknown flag: --nope"),
        ("-kz", "unknown shorthand flag: 'z' in -kz"),
        ("--app-id", "flag needs an argument: --app-id"),
        ("-ka", "flag needs an argument: 'a' in -ka"),
        ("--=x", "bad flag syntax: --=x"),
        ("---x", "bad flag syntax: ---x"),
        (
            "-p abc",
            'invalid argument "abc" for "-p, --app-port" flag: strconv.ParseInt: parsing "abc": invalid syntax',
        ),
        (
            "--enable-profiling=maybe",
            'invalid argument "maybe" for "--enable-profiling" flag: '
            'strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
    ],
)
def test_errors_have_the_words_of_dapr(line: str, text: str) -> None:
    with pytest.raises(grammar.Invalid) as wrong:
        grammar.parse(FLAGS, line.split())

    assert str(wrong.value) == text


def test_required_flags_are_named_together() -> None:
    flags = [grammar.Flag("method", "", required=True), grammar.Flag("app-id", "", required=True)]
    values, _ = grammar.parse(flags, [])

    with pytest.raises(grammar.Invalid, match=r'required flag\(s\) "app-id", "method" not set'):
        grammar.check_required(flags, values)
