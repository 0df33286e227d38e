"""Components by their type, and their options from metadata."""

import pytest

from pydapr import components
from pydapr.components import Seconds, Wrong, option, options


@options
class Sample:
    needed: str = option("Must be there.", aliases=("olderName",))
    max_items: int = option("A number.", default=7)
    is_on: bool = option("A switch.", default=False)
    pause: Seconds = option("A time.", default=Seconds(1))
    rate: float = option("A share.", default=0.5)
    names: tuple[str, ...] = option("A list.", default=())
    maybe: int | None = option("Perhaps a number.", default=None)


def test_type_leads_to_its_file() -> None:
    assert components.place("middleware.http.routeralias") == "pydapr.components.middleware.routeralias"
    assert components.place("nameresolution.nameFormat") == "pydapr.components.nameresolution.nameformat"


@pytest.mark.parametrize(
    "type_", ["", "state", "os.path", "middleware.http.../evil", "middleware.http.nothing", "state.none"]
)
def test_type_that_is_none_is_not_found(type_: str) -> None:
    assert components.find(type_) is None


def test_type_is_found_without_regard_to_case() -> None:
    found = components.find("middleware.HTTP.Uppercase")

    assert found is not None
    assert found.name == "middleware.http.uppercase"


def test_keys_are_read_without_regard_to_case() -> None:
    found = components.read(Sample, {"NEEDED": "x", "MaxItems": "3", "ison": "Yes", "Maybe": "0x10"})

    assert (found.needed, found.max_items, found.is_on, found.maybe) == ("x", 3, True, 16)
    assert (found.pause, found.rate, found.names) == (Seconds(1), 0.5, ())


def test_older_name_serves_when_the_present_one_is_not_given() -> None:
    assert components.read(Sample, {"oldername": "old"}).needed == "old"
    assert components.read(Sample, {"oldername": "old", "needed": "new"}).needed == "new"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1m30s", 90), ("250ms", 0.25), ("", 0)])
def test_times_are_go_durations_or_seconds(text: str, seconds: float) -> None:
    assert components.read(Sample, {"needed": "x", "pause": text}).pause == seconds


@pytest.mark.parametrize("text", ["no", "0", "", "yep", "enabled"])
def test_everything_but_the_words_for_yes_is_no(text: str) -> None:
    assert not components.read(Sample, {"needed": "x", "isOn": text}).is_on


def test_list_is_cut_at_commas() -> None:
    assert components.read(Sample, {"needed": "x", "names": "a, b,"}).names == ("a", " b", "")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "metadata property needed is required"),
        ({"needed": ""}, "metadata property needed is required"),
        ({"needed": "x", "Needed": "y"}, "key needed is duplicate in the metadata"),
        ({"needed": "x", "maxItems": "many"}, "metadata property maxItems: 'many' is no number"),
        ({"needed": "x", "pause": "soon"}, "metadata property pause: 'soon' is no duration"),
    ],
)
def test_error_names_the_key(metadata: dict[str, str], reason: str) -> None:
    with pytest.raises(Wrong) as error:
        components.read(Sample, metadata)

    assert str(error.value) == reason


def test_further_version_of_a_type_has_a_file_of_its_own() -> None:
    assert components.place("state.postgresql/v2") == "pydapr.components.state.postgresql_v2"
    assert components.find("secretstores.local.env", "v2") is None
    assert components.find("secretstores.Local.Env", "V1") is components.find("secretstores.local.env")


def test_value_that_is_hidden_is_not_in_the_error() -> None:
    with pytest.raises(Wrong, match="metadata property maxItems: the value, which is not shown here, is no number"):
        components.read(Sample, {"needed": "x", "maxItems": "s3cret"}, hidden={"maxItems"})


def test_all_components_of_a_kind_are_found() -> None:
    names = [found.name for found in components.available("secretstores")]

    assert {"secretstores.local.env", "secretstores.local.file"} <= set(names)
    assert components.available("nothing") == []


def test_options_describe_themselves() -> None:
    sample = components.Found("state.sample/v2", test_options_describe_themselves, Sample)

    entry = sample.entry()

    assert (entry["type"], entry["name"], entry["version"]) == ("state", "sample", "v2")
    assert entry["description"] == "Components by their type, and their options from metadata."
    described = {option.pop("name"): option for option in entry["metadata"]}
    assert described["needed"] == {
        "type": "string",
        "required": True,
        "description": "Must be there.",
        "aliases": ["olderName"],
    }
    assert [described[name]["type"] for name in ("maxItems", "isOn", "pause")] == ["number", "bool", "duration"]
    assert [described[name].get("default") for name in ("maxItems", "isOn", "pause", "names")] == [
        "7",
        "false",
        "1s",
        None,
    ]
