"""Addresses made of app ids."""

import pytest

from pydapr.components import Wrong
from pydapr.components.nameresolution import Instance
from pydapr.components.nameresolution.nameformat import NameFormat, Options


async def test_id_stands_in_the_address() -> None:
    resolver = NameFormat(Options(format="service-{appid}.example:7000"))

    assert await resolver.resolve("shop", "default") == ("service-shop.example:7000",)
    assert resolver.known("shop", "other") == ("service-shop.example:7000",)


async def test_without_a_port_it_is_our_own() -> None:
    resolver = NameFormat(Options(format="{appid}.example"))
    await resolver.register(Instance("me", "default", "10.0.0.1:51234"))

    assert resolver.known("shop", "default") == ("shop.example:51234",)


@pytest.mark.parametrize(
    ("format_", "reason"),
    [("", "format is required in metadata"), ("x.example", "format must contain {appid} placeholder")],
)
def test_format_that_is_none_is_told(format_: str, reason: str) -> None:
    with pytest.raises(Wrong) as error:
        NameFormat(Options(format=format_))

    assert str(error.value) == reason
