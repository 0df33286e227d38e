"""Command lines as pflag reads them; the texts were compared with the original daprd's."""

import pytest

from pydapr.lib import pflag
from pydapr.lib.pflag import Flag

FLAGS = (
    Flag("name", "", "What to be called"),
    Flag("port", 80, "Where to listen", "int"),
    Flag("streams", 3, "How many", "uint"),
    Flag("fast", False, "Whether to hurry", "bool"),
    Flag("wait", 30.0, "How long", "duration"),
    Flag("path", (), "Folders", "strings"),
    Flag("old", "x", "Not used any more", deprecated="use --name"),
)


def parse(*words: str) -> pflag.Parsed:
    return pflag.parse("tool", FLAGS, words)


def test_values_follow_after_a_space_or_an_equals_sign_with_one_dash_or_two() -> None:
    parsed = parse("--name", "a", "-port=0x10", "--fast", "-wait", "1m", "word", "--", "--name=b")
    assert (parsed.string("name"), parsed.int("port"), parsed.bool("fast")) == ("a", 16, True)
    assert parsed.seconds("wait") == 60.0
    assert parsed.words == ["word", "--name=b"]
    assert parsed.given == {"name", "port", "fast", "wait"}


def test_a_switch_takes_a_value_only_with_an_equals_sign() -> None:
    parsed = parse("--fast=false", "--fast", "false")
    assert parsed.bool("fast") is True
    assert parsed.words == ["false"]


def test_lists_are_comma_separated_and_grow() -> None:
    assert parse("--path", "a,b", "--path=c").strings("path") == ("a", "b", "c")
    assert parse("--path", '"a,""b""",c').strings("path") == ('a,"b"', "c")
    assert parse("--path=").strings("path") == ()
    assert parse().strings("path") == ()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--foo=3"], "unknown flag: --foo"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["---x"], "bad flag syntax: ---x"),
        (["--=x"], "bad flag syntax: --=x"),
        (["--port"], "flag needs an argument: --port"),
        (["--port=a"], 'invalid argument "a" for "--port" flag: strconv.ParseInt: parsing "a": invalid syntax'),
        (
            ["--port", "99999999999999999999"],
            'invalid argument "99999999999999999999" for "--port" flag: '
            'strconv.ParseInt: parsing "99999999999999999999": value out of range',
        ),
        (
            ["--streams", "-1"],
            'invalid argument "-1" for "--streams" flag: strconv.ParseUint: parsing "-1": invalid syntax',
        ),
        (
            ["--fast=yes"],
            'invalid argument "yes" for "--fast" flag: strconv.ParseBool: parsing "yes": invalid syntax',
        ),
        (["--wait", "1"], 'invalid argument "1" for "--wait" flag: time: missing unit in duration "1"'),
        (
            ["--path", 'a"b'],
            'invalid argument "a\\"b" for "--path" flag: parse error on line 1, column 2: bare " in non-quoted-field',
        ),
    ],
)
def test_wrong_arguments_give_usage_reason_and_status_2(words: list[str], reason: str) -> None:
    with pytest.raises(pflag.UsageError) as refusal:
        parse(*words)
    lines = refusal.value.output.splitlines()
    assert (refusal.value.status, lines[0], lines[-1]) == (2, "Usage of tool:", reason)


def test_help_is_the_usage_and_status_0() -> None:
    with pytest.raises(pflag.UsageError) as asked:
        parse("--help")
    assert asked.value.status == 0
    assert asked.value.output.splitlines() == [
        "Usage of tool:",
        "      --fast            Whether to hurry",
        "      --name string     What to be called",
        "      --path strings    Folders",
        "      --port int        Where to listen (default 80)",
        "      --streams uint    How many (default 3)",
        "      --wait duration   How long (default 30s)",
    ]


def test_a_deprecated_flag_works_and_is_announced() -> None:
    parsed = parse("--old", "y")
    assert parsed.string("old") == "y"
    assert parsed.warnings == ["Flag --old has been deprecated, use --name\n"]


@pytest.mark.parametrize(("text", "number"), [("+5", 5), ("-5", -5), ("010", 10)])
def test_ports_are_read_in_decimal(text: str, number: int) -> None:
    assert pflag.atoi(text) == number


@pytest.mark.parametrize("text", ["", " 5", "5x", "0x1", "1_0", "²"])
def test_ports_that_are_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'strconv\.Atoi: parsing ".*": invalid syntax'):
        pflag.atoi(text)
