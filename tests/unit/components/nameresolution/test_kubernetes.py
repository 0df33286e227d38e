"""Names of services in the cluster's DNS."""

import pytest

from pydapr.components import Wrong
from pydapr.components.nameresolution import Instance, NotFound
from pydapr.components.nameresolution.kubernetes import Kubernetes, Options


@pytest.mark.parametrize(
    ("options", "address"),
    [
        (Options(), "shop-dapr.live.svc.cluster.local:50002"),
        (Options(cluster_domain="my.domain"), "shop-dapr.live.svc.my.domain:50002"),
        (Options(template="{{.ID}}-{{ .Namespace }}.internal:{{.Port}}"), "shop-live.internal:50002"),
        (Options(template="{{.ID}}.internal:4000"), "shop.internal:4000"),
    ],
)
def test_name_is_made_of_id_and_namespace(options: Options, address: str) -> None:
    assert Kubernetes(options).address("shop", "live") == address


async def test_name_is_looked_up() -> None:
    resolver = Kubernetes(Options(template="localhost:{{.Port}}"))
    await resolver.register(Instance("me", "default", "10.0.0.1:51234"))

    assert "127.0.0.1:51234" in await resolver.resolve("shop", "default")


@pytest.mark.parametrize("template", ["no.such.host.invalid:{{.Port}}", "localhost"])
async def test_name_that_leads_nowhere_is_not_found(template: str) -> None:
    with pytest.raises(NotFound, match=r"couldn't find service: shop \(looked in DNS: "):
        await Kubernetes(Options(template=template)).resolve("shop", "default")


def test_template_with_anything_else_is_refused() -> None:
    with pytest.raises(Wrong, match="Data"):
        Kubernetes(Options(template="{{.Data.region}}.internal"))
