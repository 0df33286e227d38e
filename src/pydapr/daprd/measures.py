"""What is measured in a sidecar, built once at the start from the settings and the Configuration.

Called by `daprd.runtime`, which gives each part to those who record. Without metrics there is none of it: nobody
who records asks whether to.
"""

from typing import Any

from pydapr.app import grpc, http, measured
from pydapr.app.channel import AppChannel
from pydapr.daprd import flags
from pydapr.lib import re2
from pydapr.observe import logging, metrics, metrics_process
from pydapr.observe.metrics_actors import ActorMetrics
from pydapr.observe.metrics_blocks import OperationMetrics
from pydapr.observe.metrics_egress import EgressMetrics
from pydapr.observe.metrics_grpc import GrpcMetrics
from pydapr.observe.metrics_http import HttpMetrics
from pydapr.observe.metrics_ingress import IngressMetrics
from pydapr.observe.metrics_jobs import JobMetrics
from pydapr.observe.metrics_paths import BadPattern, Labels
from pydapr.observe.metrics_resiliency import ResiliencyMetrics
from pydapr.observe.metrics_service import (
    AccessMetrics,
    ComponentMetrics,
    ErrorMetrics,
    IdentityMetrics,
    ServiceMetrics,
)
from pydapr.observe.metrics_tracing import SpanMetrics
from pydapr.resources import configuration

log = logging.get("dapr.runtime")

LATENCIES = (
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650, 800,
    1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000,
)  # fmt: skip
"""Bounds of times in milliseconds where the Configuration has none."""


class Unusable(Exception):
    """The Configuration asks for metrics in a way that cannot be; the message says what is wrong."""


class Measures:
    """Who records what. Raises `Unusable`."""

    def __init__(self, registry: metrics.Registry, wanted: configuration.Metrics, namespace: str = "") -> None:
        http = wanted.http or configuration.MetricHttp()
        try:
            paths = Labels(http.increased_cardinality is not False, http.path_matching)
        except BadPattern as error:
            raise Unusable(f"metrics.http.pathMatching: {error}") from None
        latencies = wanted.latency_distribution_buckets or LATENCIES
        self.http = HttpMetrics(registry, latencies, paths, with_verbs=not http.exclude_verbs)
        self.grpc = GrpcMetrics(registry, latencies)
        self.services = ServiceMetrics(registry, latencies)
        self.access = AccessMetrics(registry)
        self.components = ComponentMetrics(registry)
        self.secrets = OperationMetrics(registry, "secret", latencies, namespace)
        self.state = OperationMetrics(registry, "state", latencies, namespace)
        self.crypto = OperationMetrics(registry, "crypto", latencies, namespace)
        self.configuration = OperationMetrics(registry, "configuration", latencies, namespace)
        self.conversation = OperationMetrics(registry, "conversation", latencies, namespace, names_operations=False)
        texts = (
            "The number of operations invoked on the output binding component.",
            "The latency of the response from the output binding component.",
        )
        self.output_bindings = OperationMetrics(registry, "output_binding", latencies, namespace, texts=texts)
        texts = (
            "The number of incoming events arriving from the input binding component.",
            "The triggered app event processing latency.",
        )
        self.input_bindings = OperationMetrics(registry, "input_binding", latencies, namespace, False, texts)
        self.egress = EgressMetrics(registry, latencies, namespace)
        self.ingress = IngressMetrics(registry, latencies, namespace)
        self.jobs = JobMetrics(registry, latencies, namespace)
        self.resiliency = ResiliencyMetrics(registry)
        self.identity = IdentityMetrics(registry)
        self.actors = ActorMetrics(registry)
        self.spans = SpanMetrics(registry)
        self.errors = ErrorMetrics(registry) if wanted.record_error_codes else None

    def channel(self, inner: AppChannel, name: str) -> AppChannel:
        """`inner`, measured; a server outside of Dapr has a name."""
        if not name and isinstance(inner, http.HttpChannel) and inner.counts_calls:
            inner.metrics = self.http  # a station less on the way of every call
            return inner
        if name:
            return measured.MeasuredServer(inner, self.http, self.services, name)
        return measured.MeasuredChannel(inner, self.http)

    def grpc_app(self, *given: Any) -> grpc.GrpcApp:
        """The app's gRPC server, measured."""
        made = measured.MeasuredGrpcApp(*given)
        made.metrics, made.services = self.grpc, self.services
        return made


def registry(settings: flags.Settings, wanted: configuration.Metrics) -> metrics.Registry:
    """All that the metrics port shows, with the process' own series in it already."""
    made = metrics.Registry({"app_id": settings.app_id}, settings.metrics_max_series, _rules(wanted.rules))
    made.add(metrics_process.samples)
    return made


def _rules(wanted: tuple[configuration.MetricRule, ...]) -> list[metrics.Rule]:
    """The rules, or none of them when one cannot be read, as with the original."""
    try:
        return [
            metrics.Rule(rule.name, label.name, pattern, replacement)
            for rule in wanted
            for label in rule.labels
            for replacement, pattern in label.regex.items()
        ]
    except re2.Unusable as error:
        log.error(f"[INIT_FAILURE]: initialization error occurred for metrics: no rule is in force: {error}")
        return []
