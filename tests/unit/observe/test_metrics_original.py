"""Kind, labels and help of each metric are the original's.

`original_metrics.txt` is what its daprd, placement, scheduler and sentry (v1.18.3) showed under requests to every
building block.
"""

from pathlib import Path

from pydapr.daprd.measures import Measures
from pydapr.observe.metrics import Registry
from pydapr.placement.metrics import Metrics
from pydapr.resources.configuration import Metrics as Wanted
from pydapr.scheduler.metrics import Counts as SchedulerCounts
from pydapr.sentry.metrics import Counts as SentryCounts


def shown() -> dict[str, tuple[str, str, str]]:
    """Ours by name."""
    sidecar = Registry({"app_id": "a"})
    Measures(sidecar, Wanted(record_error_codes=True))
    registries = (sidecar, Metrics(dict).registry, SchedulerCounts().registry, SentryCounts().registry)
    return {
        family.name: (family.kind, ",".join(sorted([*family._fixed, *family._variable])), family.text)
        for registry in registries
        for family in registry._families
    }


def test_what_the_original_shows_is_shown_alike() -> None:
    ours = shown()
    lines = Path(__file__).with_name("original_metrics.txt").read_text().splitlines()
    theirs = {name: (kind, labels, text) for name, kind, labels, text in (line.split("\t") for line in lines)}

    assert {name: ours.get(name) for name in theirs} == theirs
