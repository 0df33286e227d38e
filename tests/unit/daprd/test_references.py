"""Values by reference: which environment variables a resource may read, and what happens to secrets."""

import pytest

from pydapr.daprd import references
from pydapr.resources.fields import NameValue, SecretKeyRef


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


def test_values_come_as_they_stand_and_from_the_environment() -> None:
    pairs = (NameValue("a", "1"), NameValue("b", env_ref="REGION"), NameValue("c", env_ref="DAPR_API_TOKEN"))

    found = references.resolve("HTTPEndpoint x", pairs, {"REGION": "eu", "DAPR_API_TOKEN": "s"})

    assert found == [("a", "1"), ("b", "eu"), ("c", "")]


def test_secret_is_an_error_that_names_resource_and_key() -> None:
    pairs = (NameValue("token", secret_key_ref=SecretKeyRef("vault", "t")),)

    with pytest.raises(references.Unresolved, match=r"^Component x: token is to come from a secret store"):
        references.resolve("Component x", pairs, {})
