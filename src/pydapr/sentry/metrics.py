"""What sentry counts. Made by `runtime`; names are the original's."""

from pydapr.observe import metrics, metrics_process


class Counts:
    """The metrics of sentry. The registry is what the metrics port shows."""

    def __init__(self) -> None:
        self.registry = registry = metrics.Registry()
        registry.add(metrics_process.samples)
        self.received = registry.counter(
            "dapr_sentry_cert_sign_request_received_total", "The number of CSRs received."
        ).get()
        self.signed = registry.counter(
            "dapr_sentry_cert_sign_success_total", "The number of certificates issuances that have succeeded."
        ).get()
        self.failed = registry.counter(
            "dapr_sentry_cert_sign_failure_total", "The number of errors occurred when signing the CSR.", "reason"
        ).get("sign")
        self.own_failed = registry.counter(
            "dapr_sentry_servercert_issue_failed_total", "The number of server TLS certificate issuance failures."
        ).get()
        self.changed = registry.counter(
            "dapr_sentry_issuercert_changed_total",
            "The number of issuer cert updates, when issuer cert or key is changed",
        ).get()
        self.expires = registry.gauge(
            "dapr_sentry_issuercert_expiry_timestamp",
            "The unix timestamp, in seconds, when issuer/root cert will expire.",
        ).get()
