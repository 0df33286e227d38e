"""From a path to the face that answers it."""

import pytest
from tests.unit.components.middleware.conftest import Asked

from pydapr.api.http.router import Router
from pydapr.net.exchange import Exchange, Handler


def handler(name: str) -> Handler:
    async def handle(exchange: Exchange) -> None:
        raise AssertionError(name)

    return handle


ROUTES = {
    (method, path): handler(path.decode())
    for method, path in [
        (b"GET", b"/v1.0/metadata"),
        (b"PUT", b"/v1.0/metadata/*"),
        (b"GET", b"/v1.0/secrets/*/bulk"),
        (b"GET", b"/v1.0/secrets/*/*"),
        (b"POST", b"/v1.0/publish/bulk/*/**"),
        (b"POST", b"/v1.0/publish/*/**"),
    ]
}


@pytest.mark.parametrize(
    ("method", "target", "path"),
    [
        (b"GET", b"/v1.0/metadata?x=/a/b", b"/v1.0/metadata"),
        (b"GET", b"/v1.0/metadata/", b"/v1.0/metadata"),
        (b"PUT", b"/v1.0/metadata/a", b"/v1.0/metadata/*"),
        (b"PUT", b"/v1.0/metadata/a/b", None),
        (b"PUT", b"/v1.0/metadata", None),
        (b"GET", b"/v1.0/secrets/s/bulk", b"/v1.0/secrets/*/bulk"),
        (b"GET", b"/v1.0/secrets/s/k/", b"/v1.0/secrets/*/*"),
        (b"GET", b"/v1.0/secrets/s", None),
        (b"GET", b"/v1.0/secrets//k", None),
        (b"GET", b"/v1.0//secrets/s//k?a=//", b"/v1.0/secrets/*/*"),
        (b"GET", b"//v1.0/x/../secrets/./s/k", b"/v1.0/secrets/*/*"),
        (b"GET", b"/v1.0/secrets/s/k/..", None),
        (b"GET", b"/v1.0/secrets/s/k/x", None),
        (b"POST", b"/v1.0/publish/p/t", b"/v1.0/publish/*/**"),
        (b"POST", b"/v1.0/publish/p/t/of/many/", b"/v1.0/publish/*/**"),
        (b"POST", b"/v1.0/publish/bulk/t", b"/v1.0/publish/*/**"),
        (b"POST", b"/v1.0/publish/bulk/p/t", b"/v1.0/publish/bulk/*/**"),
        (b"POST", b"/v1.0/publish/bulk/p/t/u", b"/v1.0/publish/bulk/*/**"),
        (b"POST", b"/v1.0/publish/p" + b"/t" * 100, None),
        (b"POST", b"/v1.0/publish/p/", None),
        (b"POST", b"/v1.0/secrets/s/k", None),
        (b"GET", b"/v1.0", None),
        (b"GET", b"/", None),
        (b"GET", b"", None),
        (b"GET", b"////", None),
        (b"GET", b"/v1.0/invoke/app/method/v1.0/metadata", None),
    ],
)
def test_path_leads_to_its_route(method: bytes, target: bytes, path: bytes | None) -> None:
    route = Router(ROUTES, handler("invoke")).route(Asked(target, method=method))

    assert (route[1] if route else None) == path


def test_a_face_gets_the_path_without_doubled_slashes() -> None:
    asked = Asked(b"/v1.0//secrets/s//k?a=//", method=b"GET")
    Router(ROUTES, handler("invoke")).route(asked)
    assert asked.target == b"/v1.0/secrets/s/k?a=//"


@pytest.mark.parametrize("path", [b"/v1.0/locks/*/lock", b"/v1.0/locks/*/unlock", b"/v1.0/locks/all"])
def test_routes_with_the_same_handler_are_told_apart(path: bytes) -> None:
    paths = (b"/v1.0/locks/*/lock", b"/v1.0/locks/*/unlock", b"/v1.0/locks/all")
    same = handler("same")
    router = Router({(method, one): same for method in (b"GET", b"POST") for one in paths}, handler("invoke"))
    assert router.route(Asked(path.replace(b"*", b"name") + b"/?a=b", method=b"POST")) == (b"POST", path)
