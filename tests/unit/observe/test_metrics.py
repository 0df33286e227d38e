"""Series, their bound, rules for labels, and the text that Prometheus reads."""

import random
from bisect import bisect_right

import pytest

from pydapr.lib import re2
from pydapr.observe import metrics
from pydapr.observe.metrics import OVERFLOW, Registry, Rule, Sample, Spread


def lines(registry: Registry) -> list[str]:
    return [line for line in registry.text().splitlines() if not line.startswith("#")]


def test_a_counter_is_shown_with_its_labels_in_alphabetical_order() -> None:
    registry = Registry({"app_id": "a"})
    registry.counter("it_total", "How often.", "status", "app_id", "method").get("200", "GET").inc(2)

    assert registry.text() == (
        '# HELP it_total How often.\n# TYPE it_total counter\nit_total{app_id="a",method="GET",status="200"} 2\n'
    )


def test_the_same_values_are_the_same_series() -> None:
    family = Registry().counter("it", "", "label")

    assert family.get("x") is family.get("x") is not family.get("y")


def test_what_has_not_happened_is_not_shown() -> None:
    registry = Registry()
    registry.counter("never", "").get()
    registry.histogram("nothing", "", (1, 2)).get()

    assert registry.text() == ""


def test_a_gauge_is_shown_at_zero() -> None:
    registry = Registry()
    registry.gauge("height", "").get().set(0)

    assert lines(registry) == ["height 0"]


def test_metrics_are_sorted_by_name_and_series_by_labels() -> None:
    registry = Registry()
    for name in ("b", "a"):
        family = registry.counter(name, "", "label")
        for label in ("2", "1"):
            family.get(label).inc()

    assert [line.split()[0] for line in lines(registry)] == [
        'a{label="1"}', 'a{label="2"}', 'b{label="1"}', 'b{label="2"}',
    ]  # fmt: skip


def test_a_histogram_counts_upwards_and_a_bound_belongs_above() -> None:
    registry = Registry()
    series = registry.histogram("it", "", (1, 10), "label").get("x")
    for value in (0.5, 1, 3, 10, 100):
        series.record(value)

    assert lines(registry) == [
        'it_bucket{label="x",le="1"} 1',
        'it_bucket{label="x",le="10"} 3',
        'it_bucket{label="x",le="+Inf"} 5',
        'it_sum{label="x"} 114.5',
        'it_count{label="x"} 5',
    ]


def test_values_in_seconds_meet_bounds_in_milliseconds() -> None:
    registry = Registry()
    registry.histogram("it", "", (1, 10), scale=1000).get().record(0.002)

    assert lines(registry)[:2] == ['it_bucket{le="1"} 0', 'it_bucket{le="10"} 1']


@pytest.mark.parametrize("count", [1, 7, 8, 63, 64, 1000])
def test_values_that_wait_end_where_each_alone_would(count: int) -> None:
    chance = random.Random(count)
    bounds = (1, 2, 3, 5, 8, 13)
    values = [chance.choice([chance.uniform(0, 20), chance.randrange(15)]) for _ in range(count)]
    series = Spread(bounds)
    for value in values:
        series.record(value)
    series.settle() if series.fresh else None

    expected = [0] * 7
    for value in values:
        expected[bisect_right(bounds, value)] += 1
    assert series.counts == expected
    assert series.total == pytest.approx(sum(values))


def test_no_more_values_wait_than_a_bound() -> None:
    series = Spread((1,))
    for _ in range(10 * metrics.MANY):
        series.record(0.5)

    assert len(series.fresh) < metrics.MANY


def test_a_name_is_given_once() -> None:
    registry = Registry()
    registry.counter("it", "")

    with pytest.raises(ValueError):
        registry.histogram("it", "", (1,))


def test_values_of_labels_are_escaped() -> None:
    registry = Registry()
    registry.counter("it", "", "label").get('a"b\\c\nd').inc()

    assert lines(registry) == ['it{label="a\\"b\\\\c\\nd"} 1']


def test_what_is_beyond_the_bound_is_counted_together_and_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    registry = Registry({"app_id": "a"}, limit=2)
    family = registry.counter("it", "", "app_id", "path", "status")
    for number in range(10):
        family.get(f"/{number}", "200").inc()

    assert lines(registry) == [
        'it{app_id="a",path="/0",status="200"} 1',
        'it{app_id="a",path="/1",status="200"} 1',
        f'it{{app_id="a",path="{OVERFLOW}",status="{OVERFLOW}"}} 8',
    ]
    assert sum("metric it has 2 label sets" in line for line in "".join(capfd.readouterr()).splitlines()) == 1


def test_known_label_sets_go_on_beyond_the_bound() -> None:
    family = Registry(limit=1).counter("it", "", "path")
    first = family.get("/0")
    family.get("/1")

    assert family.get("/0") is first


def test_a_long_value_is_cut() -> None:
    registry = Registry()
    registry.counter("it", "", "path").get("x" * 5000).inc()

    assert lines(registry) == [f'it{{path="{"x" * metrics.LONGEST}"}} 1']


@pytest.mark.parametrize("name", ["dapr_http_server_latency", "http_server_latency", "http/server/latency"])
def test_a_rule_rewrites_a_label_of_the_metric_it_names(name: str) -> None:
    rules = [Rule(name, "path", "/orders/.+", "/orders/{id}")]
    registry = Registry(rules=rules)
    for metric in ("dapr_http_server_latency", "dapr_other"):
        registry.counter(metric, "", "path").get("/v1/orders/77").inc()

    assert lines(registry) == [
        'dapr_http_server_latency{path="/v1/orders/{id}"} 1',
        'dapr_other{path="/v1/orders/77"} 1',
    ]


def test_a_rule_that_lengthens_is_applied_once() -> None:
    registry = Registry(rules=[Rule("it", "path", "^/", "/v1/")])
    family = registry.counter("it", "", "path")
    family.get("/" + "x" * 5000).inc()
    family.get("/" + "x" * 6000).inc()

    assert lines(registry) == [f'it{{path="/v1/{"x" * (metrics.LONGEST - 4)}"}} 2']


def test_a_rule_looks_at_no_more_than_is_shown() -> None:
    registry = Registry(rules=[Rule("it", "path", "x+y", "never")])
    registry.counter("it", "", "path").get("x" * 5000 + "y").inc()

    assert lines(registry) == [f'it{{path="{"x" * metrics.LONGEST}"}} 1']


def test_rewritten_values_share_a_series() -> None:
    family = Registry(rules=[Rule("it", "path", "[0-9]+", "N")]).counter("it", "", "path")

    assert family.get("/1") is family.get("/22")


@pytest.mark.parametrize(
    ("replacement", "expected"),
    [("$1", "ab-cd"), ("${name}!", "cd!"), ("$9x", ""), ("$$", "$"), ("${1}0", "ab-cd0")],
)
def test_replacements_name_groups_as_in_go(replacement: str, expected: str) -> None:
    assert Rule("it", "l", "(ab-(?P<name>cd))", replacement).apply("ab-cd") == expected


def test_an_expression_that_is_none_is_refused() -> None:
    with pytest.raises(re2.Unusable):
        Rule("it", "l", "(", "")


def test_the_text_comes_in_pieces() -> None:
    registry = Registry(limit=5000)
    family = registry.counter("it", "", "path")
    for number in range(5000):
        family.get(str(number)).inc()
    pieces = list(registry.pieces())

    assert len(pieces) > 2
    assert max(map(len, pieces)) < 2 * metrics.PIECE
    assert "".join(pieces) == registry.text()


def test_sources_are_asked_each_time() -> None:
    registry, asked = Registry(), iter((1.5, 2.5))
    registry.add(lambda: [Sample(metrics.GAUGE, "now", "It.", next(asked))])

    assert (lines(registry), lines(registry)) == (["now 1.5"], ["now 2.5"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (999_999, "999999"), (1_000_000, "1e+06"), (1_048_576, "1.048576e+06"), (0.5, "0.5"),
        (1_579_696_438, "1.579696438e+09"), (0.00001, "1e-05"), (-2.5, "-2.5"), (1234567.25, "1.23456725e+06"),
        (2.0**64, "1.8446744073709552e+19"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_in_go(value: float, text: str) -> None:
    registry = Registry()
    registry.gauge("it", "").get().set(value)

    assert lines(registry) == [f"it {text}"]
