"""What HTTP metrics record of requests and calls."""

from pydapr.observe import metrics_http
from pydapr.observe.metrics import Registry
from pydapr.observe.metrics_http import HttpMetrics
from pydapr.observe.metrics_paths import Labels


class Measured:
    """Metrics with a registry of their own."""

    def __init__(self, is_increased: bool = True, with_verbs: bool = True, limit: int = 100) -> None:
        self.registry = Registry({"app_id": "a"}, limit)
        self.http = HttpMetrics(self.registry, (1, 10), Labels(is_increased, ()), with_verbs)

    def value(self, series: str) -> str | None:
        return dict(line.rsplit(" ", 1) for line in self.registry.text().splitlines()).get(series)


REQUEST = '{app_id="a",method="GET",path="/v1.0/x",status="200"}'


def test_a_request_is_in_all_series_of_the_server() -> None:
    measured = Measured()
    measured.http.answered(b"GET", b"/v1.0/x?q=1", 200, 5, 2000, 0.003)

    assert measured.value(f"dapr_http_server_request_count{REQUEST}") == "1"
    assert measured.value(f"dapr_http_server_response_count{REQUEST}") == "1"
    assert measured.value(f"dapr_http_server_latency_sum{REQUEST}") == "3"
    assert measured.value('dapr_http_server_request_bytes_sum{app_id="a"}') == "5"
    assert measured.value('dapr_http_server_response_bytes_bucket{app_id="a",le="2048"}') == "1"


def test_queries_do_not_make_series() -> None:
    measured = Measured()
    for number in range(3):
        measured.http.answered(b"GET", b"/v1.0/x?q=%d" % number, 200, 0, 0, 0.0)

    assert measured.value(f"dapr_http_server_request_count{REQUEST}") == "3"


def test_without_paths_there_is_no_count_of_responses() -> None:
    measured = Measured(is_increased=False)
    measured.http.answered(b"GET", b"/v1.0/x", 200, 0, 0, 0.0)

    assert measured.value('dapr_http_server_request_count{app_id="a",method="GET",path="",status="200"}') == "1"
    assert "response_count" not in measured.registry.text()


def test_methods_that_http_does_not_have_are_unknown() -> None:
    measured = Measured()
    measured.http.answered(b"BREW", b"/v1.0/x", 200, 0, 0, 0.0)

    assert measured.value(f"dapr_http_server_request_count{REQUEST.replace('GET', 'UNKNOWN')}") == "1"


def test_methods_can_be_left_out() -> None:
    measured = Measured(with_verbs=False)
    measured.http.answered(b"GET", b"/v1.0/x", 200, 0, 0, 0.0)

    assert measured.value(f"dapr_http_server_request_count{REQUEST.replace('GET', '')}") == "1"


def test_a_call_is_in_all_series_of_the_client() -> None:
    measured = Measured()
    measured.http.called(b"POST", "orders", 201, 7, 9, 0.002)
    labels = '{app_id="a",method="POST",path="/orders",status="201"}'

    assert measured.value(f"dapr_http_client_completed_count{labels}") == "1"
    assert measured.value(f"dapr_http_client_roundtrip_latency_sum{labels}") == "2"
    assert measured.value(f"dapr_http_client_sent_bytes_sum{labels.replace('201', '')}") == "7"
    assert measured.value('dapr_http_client_received_bytes_sum{app_id="a"}') == "9"


def test_a_path_that_cannot_be_decoded_is_shown_as_it_is() -> None:
    measured = Measured()
    measured.http.answered(b"GET", b"/%zz", 400, 0, 0, 0.0)

    assert measured.value('dapr_http_server_request_count{app_id="a",method="GET",path="/%zz",status="400"}') == "1"


def test_ever_new_paths_keep_nothing_beyond_their_bounds() -> None:
    measured = Measured(limit=50)
    for number in range(2 * metrics_http.KNOWN):
        measured.http.answered(b"GET", b"/%d" % number, 200, 0, 0, 0.0)
        measured.http.called(b"GET", f"/{number}", 200, 0, 0, 0.0)

    assert len(measured.http._requests) <= metrics_http.KNOWN
    assert len(measured.http._calls) <= metrics_http.KNOWN
    assert measured.registry.text().count("dapr_http_server_request_count{") == 51
