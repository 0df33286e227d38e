"""Paths under other names."""

import pytest

from pydapr.components import Wrong
from pydapr.components.middleware.routeralias import Options, RouterAlias

ROUTES = {
    "/v1.0/mall/info": "/v1.0/invoke/srv.default/method/mall/info",
    "/v1.0/hello/{id}/user": "/v1.0/invoke/srv.default/method/hello/user",
    "/n/{number:[0-9]+}/{rest:.*}": "/number",
    "/odd": "/a b?c",
}

JSON = (
    '{"/v1.0/mall/info": "/v1.0/invoke/srv.default/method/mall/info",'
    ' "/v1.0/hello/{id}/user": "/v1.0/invoke/srv.default/method/hello/user",'
    ' "/n/{number:[0-9]+}/{rest:.*}": "/number", "/odd": "/a b?c"}'
)
YAML = "\n".join(f'"{path}": "{target}"' for path, target in ROUTES.items())


@pytest.mark.parametrize("options", [Options(routes=JSON), Options(routes=YAML), Options(pairs=ROUTES)])
@pytest.mark.parametrize(
    ("target", "goes_on"),
    [
        (b"/v1.0/mall/info?id=1", b"/v1.0/invoke/srv.default/method/mall/info?id=1"),
        (b"/v1.0/hello/7/user", b"/v1.0/invoke/srv.default/method/hello/user?id=7"),
        (b"/v1.0/hello/7/user?userid=1&a=%20", b"/v1.0/invoke/srv.default/method/hello/user?a=+&id=7&userid=1"),
        (b"/v1.0/hello/7/8/user", b"/v1.0/hello/7/8/user"),
        (b"/v1.0/mall/info/", b"/v1.0/mall/info/"),
        (b"/v1.0%2Fmall/info", b"/v1.0/invoke/srv.default/method/mall/info"),
        (b"/n/12/a/b", b"/number?number=12&rest=a%2Fb"),
        (b"/n/x/a", b"/n/x/a"),
        (b"/odd", b"/a%20b%3Fc"),
        (b"/%zz", b"/%zz"),
    ],
)
def test_request_goes_on_under_the_other_name(options: Options, target: bytes, goes_on: bytes) -> None:
    assert RouterAlias(options).alias(target) == goes_on


def test_without_routes_nothing_changes() -> None:
    assert RouterAlias(Options()).alias(b"/x") == b"/x"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (Options(pairs={"/a": ""}), "must not be empty"),
        (Options(routes="- a"), "no mapping"),
        (Options(routes="{"), "failed to decode 'routes'"),
        (Options(routes='{"/{a": "/b"}'), "unbalanced braces"),
        (Options(routes='{"/{a:(x)}": "/b"}'), "use (?:...)"),
        (Options(routes='{"/{a:[}": "/b"}'), "error parsing regexp"),
        (Options(routes='{"/{}": "/b"}'), "has no name"),
    ],
)
def test_routes_that_are_none_are_told(options: Options, reason: str) -> None:
    with pytest.raises(Wrong) as error:
        RouterAlias(options)

    assert reason in str(error.value)
