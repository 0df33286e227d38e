"""Values by reference: from the environment, and from secret stores."""

from collections.abc import Mapping

import pytest

from pydapr.components.secretstores import SecretStore, SecretStoreError
from pydapr.daprd import references
from pydapr.daprd.references import Given, NotLoaded, Owner
from pydapr.resources.fields import NameValue, SecretKeyRef

OWNER = Owner("Component", "x", "here", "vault", "/r/x.yaml")


class Held(SecretStore):
    """A store that holds `secrets` and keeps what it was asked."""

    def __init__(self, **secrets: Mapping[str, str]) -> None:
        self.secrets = secrets
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def get(self, name: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        self.asked.append((name, metadata))
        if name not in self.secrets:
            raise SecretStoreError(f"secret {name} not found")
        return self.secrets[name]

    async def get_bulk(self, metadata: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
        return self.secrets


def secret(name: str, of: str, key: str = "", value: str | None = None) -> NameValue:
    return NameValue(name, value, SecretKeyRef(of, key))


@pytest.mark.parametrize(
    ("variable", "listed", "allowed"),
    [
        ("REGION", "", True),
        ("", "", False),
        ("APP_API_TOKEN", "", False),
        ("app_api_token", "", False),
        ("DAPR_API_TOKEN", "", False),
        ("TWO WORDS", "", False),
        ("REGION", "ZONE REGION", True),
        ("REGION", "ZONE REGIONS", False),
    ],
)
def test_environment_is_open_but_for_what_is_secret_or_not_listed(variable: str, listed: str, allowed: bool) -> None:
    assert references.is_allowed(variable, {"DAPR_ENV_KEYS": listed}) is allowed


async def test_values_come_as_they_stand_and_from_the_environment() -> None:
    pairs = (NameValue("a", "1"), NameValue("b", env_ref="REGION"), NameValue("c", env_ref="DAPR_API_TOKEN"))

    given = await references.resolve(OWNER, pairs, {"REGION": "eu", "DAPR_API_TOKEN": "s"}, {})

    assert given == Given((("a", "1"), ("b", "eu"), ("c", "")), (), frozenset({"b"}), ("eu",))


async def test_values_come_from_the_store_each_secret_asked_for_once() -> None:
    store = Held(db={"user": "u", "db": "own"}, flat={"flat": "f"})
    pairs = (secret("a", "db", "user"), secret("b", "db"), secret("c", "flat", "flat"), NameValue("d", "4"))

    given = await references.resolve(OWNER, pairs, {}, {"vault": store})

    assert given.pairs == (("a", "u"), ("b", "own"), ("c", "f"), ("d", "4"))
    assert given.hidden == {"a", "b", "c"}
    assert store.asked == [("db", {"namespace": "here"}), ("flat", {"namespace": "here"})]


async def test_secret_wins_over_a_value_which_serves_when_there_is_none() -> None:
    pairs = (secret("a", "s", "k", "old"), secret("b", "nothing", "k", "old"))

    given = await references.resolve(OWNER, pairs, {}, {"vault": Held(s={"k": "new"})})

    assert (given.pairs, given.faults) == ((("a", "new"), ("b", "old")), ())


@pytest.mark.parametrize(
    ("pair", "fault"),
    [
        (
            secret("p", "gone", "k"),
            "key k of secret gone in secret store vault, but cannot be had: secret gone not found",
        ),
        (secret("p", "s", "other"), "key other of secret s in secret store vault, but the secret has no key other"),
        (secret("p", "s"), "secret s in secret store vault, but the secret has no key s"),
        (secret("p", "s", "empty"), "key empty of secret s in secret store vault, but that is empty"),
    ],
)
async def test_what_is_missing_is_told_with_file_key_and_store(pair: NameValue, fault: str) -> None:
    given = await references.resolve(OWNER, (pair,), {}, {"vault": Held(s={"k": "v", "empty": ""})})

    assert given == Given((("p", ""),), (f"Component x (/r/x.yaml): p is to come from {fault}",))


async def test_resource_without_a_store_is_told_so() -> None:
    given = await references.resolve(Owner("Component", "x"), (secret("p", "s", "k"),), {}, {})

    assert given.faults == (
        "Component x: p is to come from key k of secret s, but the resource names no store (auth.secretStore)",
    )


async def test_store_that_is_not_loaded_is_named() -> None:
    with pytest.raises(NotLoaded, match=r"p is to come from key k of secret s in secret store vault$") as error:
        await references.resolve(OWNER, (secret("p", "s", "k"),), {}, {})

    assert error.value.store == "vault"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("s3cret-value", "no host s3cret-value there"),
        ('quo"ted\\s3cret', "bad: 'quo\"ted\\\\s3cret'"),
        ("two\nlines s3cret", "bad: 'two\\nlines s3cret'"),
        ("s3cret/of url", "GET http://h/s3cret%2Fof%20url failed"),
        ("  s3cret-padded\n", "no 's3cret-padded'"),
        ("s3", "no s3 there"),
        ("s3\udcffcret", "no s3\udcffcret there"),
    ],
)
def test_secrets_are_cut_out_of_errors_however_they_are_quoted(value: str, text: str) -> None:
    shown = Given(secrets=(value,)).scrub(text)

    assert "s3" not in shown
    assert shown != text


def test_error_without_secrets_stays_as_it_is() -> None:
    assert Given(secrets=("hush", "")).scrub("no such file: x") == "no such file: x"
