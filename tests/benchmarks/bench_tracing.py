"""What tracing adds to an invocation through two sidecars in one process: CPU of both together, in microseconds.

    python -m tests.benchmarks.bench_tracing [requests]

Pairs of runs, one without and one with, take turns; the median of their differences counts. Spans are put into
OTLP's words as they would be for a collector, and thrown away.
"""

import asyncio
import gc
import statistics
import sys
from collections.abc import Callable

import uvloop
from tests.benchmarks import bench_invoke

from pydapr.observe import tracing_otlp
from pydapr.observe.tracing import Span, Tracer


def _encode(span: Span) -> None:
    tracing_otlp.encode(span)


MODES: dict[str, Callable[[], Tracer]] = {
    "contexts pass": lambda: Tracer(0.0001, None, gives_ids=False),
    "sampled at 0": lambda: Tracer(-1.0, _encode),
    "sampled at 0.1": lambda: Tracer(0.1, _encode),
    "sampled at 1": lambda: Tracer(1.0, _encode),
}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    plain = bench_invoke.request(b"")
    own = [bench_invoke.request(b"Traceparent: 00-%032x-%016x-00\r\n" % (n + 1, n + 1)) for n in range(count)]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        def once(make: Callable[[int], bytes], tracer: Tracer | None) -> float:
            return runner.run(bench_invoke.run(count, make, tracer=tracer))

        def compare(name: str, make: Callable[[int], bytes], mode: Callable[[], Tracer]) -> None:
            pairs = [(once(lambda _: plain, None), once(make, mode())) for _ in range(10)]
            without = statistics.median(before for before, _ in pairs)
            added = statistics.median(after - before for before, after in pairs)
            print(f"{name:32} {without:.1f} us without, {added:+.2f} us")

        for name, mode in MODES.items():
            compare(name, lambda _: plain, mode)
        compare("client's own context each time", own.__getitem__, MODES["sampled at 0"])
        pairs = [(once(lambda _: plain, None), once(own.__getitem__, None)) for _ in range(10)]
        print(f"{'the same while tracing is off':32} {statistics.median(b - a for a, b in pairs):+.2f} us")


if __name__ == "__main__":
    main()
