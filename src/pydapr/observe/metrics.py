"""Counters, gauges and histograms in Prometheus' text form. A process has one `Registry`; any process may have one.

Who records asks a family once for the series of its labels and keeps it. To count is then an addition to a plain
attribute, and a value of a histogram waits in a list until there are some: sorting a few of them together costs a
third of placing each (0.1 µs against 0.3). Text is made when somebody asks for it (`observe.metrics_page`).

A family holds a bounded number of label sets. What comes after that is counted together in one series more, whose
labels say so, and the log says it once.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from pydapr.lib import re2
from pydapr.observe import logging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

S = TypeVar("S", "Count", "Spread")

log = logging.get("dapr.runtime.diagnostics")

OVERFLOW = "__overflow__"
"""The value of each variable label of the series that holds what is beyond the bound."""

MAX_SERIES = 1000
"""Label sets of a family where nobody says otherwise."""

LONGEST = 512
"""Characters of a label's value; the rest is cut off."""

PIECE = 16 * 1024
"""Characters of text that are made in one go."""

MANY = 128
"""Values of a histogram that wait at most."""

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_GROUP = re.compile(r"\$(?:\{(\w+)\}|(\w+)|(\$))", re.ASCII)


class Count:
    """A number: what has been counted so far, or the present height of a gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, by: float = 1) -> None:
        self.value += by

    def set(self, value: float) -> None:
        self.value = value


class Spread:
    """How often values of each size came. `counts` has one place more than `bounds`: what is above all of them.

    A value that equals a bound belongs to the place above it, as with the original's exporter. Bounds are in units
    of which a value has `scale`: 1000 for bounds in milliseconds and values in seconds.
    """

    __slots__ = ("_limits", "_scale", "bounds", "counts", "fresh", "total")

    def __init__(self, bounds: Sequence[float], scale: float = 1) -> None:
        self._scale = scale
        self.bounds = bounds
        self._limits = bounds if scale == 1 else [bound / scale for bound in bounds]
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.fresh: list[float] = []
        """Values that have no place yet. Who adds here, to save a call, settles when there are `MANY`."""

    def record(self, value: float) -> None:
        self.fresh.append(value)
        if len(self.fresh) >= MANY:
            self.settle()

    def settle(self) -> None:
        """Gives each value its place."""
        fresh, limits, counts = self.fresh, self._limits, self.counts
        self.total += sum(fresh) * self._scale
        lowest, highest = bisect_right(limits, min(fresh)), bisect_right(limits, max(fresh))
        if lowest == highest:  # usual for sizes, and for times of a calm system
            counts[lowest] += len(fresh)
        else:
            fresh.sort()
            below = 0
            for place in range(lowest, highest):
                reached = bisect_left(fresh, limits[place], below)
                counts[place] += reached - below
                below = reached
            counts[highest] += len(fresh) - below
        fresh.clear()


class Rule:
    """What of a label's value in one metric is replaced before it counts. Raises `re2.Unusable`."""

    __slots__ = ("_pattern", "_replacement", "label", "metric")

    def __init__(self, metric: str, label: str, pattern: str, replacement: str) -> None:
        self.metric = _plain(metric)
        self.label = label
        self._pattern = re2.compile(pattern)
        self._replacement = replacement

    def apply(self, value: str) -> str:
        return self._pattern.sub(self._expand, value)

    def _expand(self, match: re.Match[str]) -> str:
        """The replacement with `$1` and `${name}` filled in; a group that is not there is empty, as in Go."""

        def group(reference: re.Match[str]) -> str:
            if reference[3]:
                return "$"
            name = reference[1] or reference[2]
            try:
                return match[int(name) if name.isdigit() else name] or ""
            except IndexError:
                return ""

        return _GROUP.sub(group, self._replacement)


def _plain(metric: str) -> str:
    """The name of a metric as rules are compared: `dapr_` in front, dots and slashes do not matter."""
    return metric.replace("dapr_", "", 1).replace(".", "_").replace("/", "_")


class Family(Generic[S]):
    """The series of one metric. `labels` are all its labels, `fixed` those whose value is always the same."""

    def __init__(
        self,
        kind: str,
        name: str,
        text: str,
        labels: Sequence[str],
        fixed: Mapping[str, str],
        make: Callable[[], S],
        limit: int,
        rules: Iterable[Rule],
    ) -> None:
        self.kind, self.name, self.text = kind, name, text
        wanted = _plain(name)
        self._rules = [rule for rule in rules if rule.metric == wanted and rule.label in labels]
        self._fixed = {label: self._rewritten(label, fixed[label]) for label in labels if label in fixed}
        self._variable = [label for label in labels if label not in fixed]
        self._make: Callable[[], S] = make
        self._limit = limit
        self._series: dict[tuple[str, ...], S] = {}
        self._rest: S | None = None

    def get(self, *values: str) -> S:
        """The series with these values of the labels that are not fixed, in their order."""
        if self._rules:
            values = tuple(map(self._rewritten, self._variable, values))
        found = self._series.get(values)
        if found is None:
            if max(map(len, values), default=0) > LONGEST:
                # Not by way of the rules again, which might make it longer each time.
                values = tuple([value[:LONGEST] for value in values])
                found = self._series.get(values)
                if found is not None:
                    return found
            if len(self._series) >= self._limit:
                return self._overflow()
            found = self._series[values] = self._make()
        return found

    def _overflow(self) -> S:
        if self._rest is None:
            self._rest = self._make()
            log.warning(
                f"metric {self.name} has {self._limit} label sets: what comes beyond them is counted together, "
                f"with {OVERFLOW} as the value of its labels"
            )
        return self._rest

    def _rewritten(self, label: str, value: str) -> str:
        for rule in self._rules:
            if rule.label == label and value:
                # No more than is shown: the time that an expression takes may grow with the square of this.
                value = rule.apply(value[:LONGEST])
        return value

    # -- text --

    def lines(self) -> Iterator[str]:
        """The text, a series at a time; what has not happened yet is not in it."""
        everything = [(self._labels(values), series) for values, series in self._series.items() if self._has(series)]
        if self._rest is not None and self._has(self._rest):
            everything.append((self._labels([OVERFLOW] * len(self._variable)), self._rest))
        everything.sort(key=lambda one: one[0])
        if everything:
            yield f"# HELP {self.name} {self.text}\n# TYPE {self.name} {self.kind}\n"
        for labels, series in everything:
            if isinstance(series, Spread):
                yield _histogram(self.name, labels, series)
            else:
                yield _line(self.name, labels, series.value)

    def _has(self, series: S) -> bool:
        """Whether a series has anything to tell."""
        if isinstance(series, Spread):
            if series.fresh:
                series.settle()
            return any(series.counts)
        return self.kind == GAUGE or series.value != 0

    def _labels(self, values: Iterable[str]) -> str:
        pairs = [*self._fixed.items(), *zip(self._variable, values, strict=True)]
        return ",".join(f'{label}="{value.translate(_ESCAPES)}"' for label, value in sorted(pairs))


class Sample:
    """A metric that is read when it is asked for, of one series or several: text of labels → value."""

    __slots__ = ("kind", "name", "text", "values")

    def __init__(self, kind: str, name: str, text: str, values: float | Mapping[str, float]) -> None:
        self.kind, self.name, self.text = kind, name, text
        self.values = values if not isinstance(values, int | float) else {"": values}

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.text}\n# TYPE {self.name} {self.kind}\n"
        for labels, value in self.values.items():
            yield _line(self.name, labels, value)


class Registry:
    """All metrics of a process, each name once. `fixed` are labels with one value wherever a metric has them."""

    def __init__(
        self, fixed: Mapping[str, str] | None = None, limit: int = MAX_SERIES, rules: Iterable[Rule] = ()
    ) -> None:
        self.fixed = dict(fixed or {})
        self._limit = limit
        self._rules = list(rules)
        self._families: list[Family[Count] | Family[Spread]] = []
        self._sources: list[Callable[[], Iterable[Sample]]] = []

    def counter(self, name: str, text: str, *labels: str, fixed: Mapping[str, str] | None = None) -> Family[Count]:
        return self._counts(COUNTER, name, text, labels, fixed)

    def gauge(self, name: str, text: str, *labels: str, fixed: Mapping[str, str] | None = None) -> Family[Count]:
        return self._counts(GAUGE, name, text, labels, fixed)

    def histogram(
        self, name: str, text: str, bounds: Sequence[float], *labels: str, scale: float = 1
    ) -> Family[Spread]:
        limits = tuple(sorted({bound for bound in bounds if bound > 0}))
        family: Family[Spread] = Family(
            HISTOGRAM, name, text, labels, self.fixed, lambda: Spread(limits, scale), self._limit, self._rules
        )
        return self._keep(family)

    def _counts(
        self, kind: str, name: str, text: str, labels: Sequence[str], fixed: Mapping[str, str] | None
    ) -> Family[Count]:
        given = self.fixed if fixed is None else fixed
        family: Family[Count] = Family(kind, name, text, labels, given, Count, self._limit, self._rules)
        return self._keep(family)

    def _keep(self, family: Family[S]) -> Family[S]:
        if any(other.name == family.name for other in self._families):
            raise ValueError(f"there is a metric {family.name} already")
        self._families.append(cast("Family[Count] | Family[Spread]", family))
        return family

    @property
    def names(self) -> list[str]:
        """Of all families, shown or not."""
        return [family.name for family in self._families]

    def add(self, source: Callable[[], Iterable[Sample]]) -> None:
        """Asks `source` for samples each time the text is made."""
        self._sources.append(source)

    def pieces(self) -> Iterator[str]:
        """The text of all metrics, in pieces of some `PIECE` characters, between which others may have their turn."""
        samples = [sample for source in self._sources for sample in source()]
        piece: list[str] = []
        size = 0
        for metric in sorted([*self._families, *samples], key=lambda one: one.name):
            for text in metric.lines():
                piece.append(text)
                size += len(text)
                if size >= PIECE:
                    yield "".join(piece)
                    piece.clear()
                    size = 0
        if piece:
            yield "".join(piece)

    def text(self) -> str:
        """The text of all metrics as one."""
        return "".join(self.pieces())


def _line(name: str, labels: str, value: float) -> str:
    return f"{name}{{{labels}}} {_number(value)}\n" if labels else f"{name} {_number(value)}\n"


def _histogram(name: str, labels: str, series: Spread) -> str:
    lead = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
    lines, count = [], 0
    for bound, more in zip(series.bounds, series.counts, strict=False):
        count += more
        lines.append(f'{lead}le="{_number(bound)}"}} {_number(count)}\n')
    count += series.counts[-1]
    lines.append(f'{lead}le="+Inf"}} {_number(count)}\n')
    return "".join(lines) + _line(f"{name}_sum", labels, series.total) + _line(f"{name}_count", labels, count)


def _number(value: float) -> str:
    """As Go writes it, since bounds are labels: an exponent from a million on."""
    if 1e-4 <= abs(value) < 1e6 or not value:
        return str(int(value)) if value == int(value) else repr(value)
    digits = repr(float(value)).partition("e")[0].replace(".", "").strip("0-")
    return f"{value:.{max(len(digits) - 1, 0)}e}"
