"""The table of `dapr list`."""

import pytest

from pydapr.cli import list_, sidecars

SIDECAR = sidecars.Sidecar(11, "orders", 3500, 50001, 80, True, 4194304, 4096, "", 1000.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0.9, "0s"),
        (60, "60s"),
        (61, "1m"),
        (3600, "60m"),
        (3601, "1h"),
        (86401, "1d"),
        (200000, "2d"),
    ],
)
def test_age_is_the_largest_whole_unit(seconds: float, text: str) -> None:
    assert list_.age(seconds) == text


def test_empty_columns_are_left_out() -> None:
    rows = [
        list_.row(sidecars.Described(SIDECAR, 9, 12, "python orders.py --verbose"), 1003.0),
        list_.row(sidecars.Described(SIDECAR._replace(app_id="b", app_port=0)), 1003.0),
    ]

    header, first, second = list_.table(rows).splitlines()
    assert header == (
        "APP ID  HTTP PORT  GRPC PORT  APP PORT  COMMAND               AGE  CREATED              "
        "DAPRD PID  CLI PID  APP PID  "
    )
    assert first.startswith("orders  3500       50001      80        python orders.py...  3s   ") or (
        first.startswith("orders  3500       50001      80        python orders.py ...  3s   ")
    )
    assert first.endswith("  11         9        12       ")
    assert second.startswith("b       3500       50001      0                               3s   ")


def test_what_the_run_noted_is_shown() -> None:
    extended = {"runTemplatePath": "/x/dapr.yaml", "runTemplateName": "shop"}
    row = list_.row(sidecars.Described(SIDECAR, extended=extended), 1000.0)

    assert "RUN TEMPLATE PATH  RUNTEMPLATENAME  " in list_.table([row])
