"""What a sidecar's command line tells."""

from pydapr.cli import processes, sidecars


def sidecar(line: str) -> sidecars.Sidecar | None:
    return sidecars.from_process(processes.Process(7, ["daprd", *line.split()], 1.5))


def test_flags_are_read_in_both_forms() -> None:
    found = sidecar("--app-id x --dapr-http-port=3501 --enable-api-logging --app-port 80 --dapr-grpc-port 5")

    assert found is not None
    assert (found.app_id, found.http_port, found.grpc_port, found.app_port) == ("x", 3501, 5, 80)


def test_absent_flags_have_the_defaults_of_the_sidecar() -> None:
    found = sidecar("--app-id x")

    assert found == sidecars.Sidecar(7, "x", 3500, 50001, 0, True, 4 << 20, 4 << 10, "", 1.5)


def test_sizes_and_switches_are_understood() -> None:
    found = sidecar("-app-id x --max-body-size 16Mi --read-buffer-size 8k --enable-metrics=false")

    assert found is not None
    assert (found.max_body_size, found.read_buffer_size, found.metrics_enabled) == (16 << 20, 8000, False)


def test_without_app_id_it_is_none() -> None:
    assert sidecar("--version") is None


def test_one_that_does_not_answer_is_still_described() -> None:
    silent = sidecar("--app-id x --unix-domain-socket /nowhere")
    assert silent is not None

    assert sidecars.describe([silent]) == [sidecars.Described(silent)]
