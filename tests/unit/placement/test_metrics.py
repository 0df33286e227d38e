"""How many sidecars each namespace has, on the page of placement."""

import asyncio

from pydapr.observe.metrics import MAX_SERIES, OVERFLOW
from pydapr.placement.metrics import Metrics

NAME = "dapr_placement_runtimes_total"


def shown(metrics: Metrics) -> dict[str, str]:
    async def text() -> str:
        return metrics.registry.text()  # which tells of the loop, too

    lines = [line for line in asyncio.run(text()).splitlines() if line.startswith(NAME)]
    return {line.split('"')[1]: line.rpartition(" ")[2] for line in lines}


def test_a_namespace_that_nobody_is_in_any_more_is_shown_empty() -> None:
    counts = {"a": (2, 1), "b": (1, 0)}
    metrics = Metrics(lambda: counts)

    assert shown(metrics) == {"a": "2", "b": "1"}
    del counts["b"]
    assert shown(metrics) == shown(metrics) == {"a": "2", "b": "0"}


def test_namespaces_beyond_the_bound_are_counted_together() -> None:
    counts = {f"n{number}": (1, 1) for number in range(MAX_SERIES + 200)}
    metrics = Metrics(lambda: counts)

    assert (len(shown(metrics)), shown(metrics)[OVERFLOW]) == (MAX_SERIES + 1, "200")
    counts.clear()
    assert set(shown(metrics).values()) == {"0"}
