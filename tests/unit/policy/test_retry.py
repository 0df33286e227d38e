"""Retry schedules and the codes they match."""

import pytest

from pydapr.policy import retry
from pydapr.policy.retry import Retry, Schedule


def pauses(policy: Retry, count: int, chance: float = 0.5) -> list[float | None]:
    schedule = Schedule(policy, 0.0)
    return [schedule.after_failure(0.0, chance) for _ in range(count)]


def test_constant_pauses_end_after_the_retries() -> None:
    assert pauses(Retry(duration=2.0, max_retries=3), 5) == [2.0, 2.0, 2.0, None, None]


def test_no_retries_are_no_pauses() -> None:
    assert pauses(Retry(max_retries=0), 1) == [None]


def test_retries_below_zero_have_no_end() -> None:
    assert None not in pauses(Retry(max_retries=-1), 10_000)


def test_exponential_pauses_grow_by_half_up_to_the_largest() -> None:
    assert pauses(Retry(is_exponential=True, max_interval=1.0), 5) == [0.5, 0.75, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.25), (0.5, 0.5), (1.0, 0.75)])
def test_chance_spreads_a_pause_by_half(chance: float, pause: float) -> None:
    assert pauses(Retry(is_exponential=True), 1, chance) == [pause]


def test_exponential_pauses_end_when_the_time_is_up() -> None:
    schedule = Schedule(Retry(is_exponential=True, max_elapsed=10.0), 100.0)

    assert schedule.after_failure(109.4, 0.5) == 0.5
    assert schedule.after_failure(109.4, 0.5) is None


def test_constant_pauses_do_not_look_at_the_time() -> None:
    assert Schedule(Retry(duration=1.0, max_elapsed=10.0), 0.0).after_failure(1e6, 0.5) == 1.0


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("", None),
        ("429", ((429, 429),)),
        ("429,500-599", ((429, 429), (500, 599))),
        ("100,,200", ((100, 100), (200, 200))),
        (",", ()),
    ],
)
def test_codes_are_read(text: str, ranges: retry.Ranges | None) -> None:
    assert retry.codes(text, retry.HTTP_CODES) == ranges


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("11", "invalid pattern 11, start code 11 is not valid"),
        ("500-600", "invalid pattern 500-600, end code 600 is not valid"),
        ("500-400", "invalid pattern 500-400, start value should not bigger than end value"),
        ("1-2-3", "invalid pattern 1-2-3, more than one '-' exists"),
        (
            "429, 500",
            'failed to parse start code  500 from pattern  500 to int, strconv.Atoi: parsing " 500": invalid syntax',
        ),
        ("500-", 'failed to parse end code  from pattern 500- to int, strconv.Atoi: parsing "": invalid syntax'),
    ],
)
def test_wrong_codes_are_told_in_the_originals_words(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        retry.codes(text, retry.HTTP_CODES)
    assert str(error.value) == message


def test_no_codes_match_everything_that_is_a_code() -> None:
    assert all(Retry().wants(code) for code in (0, 14, 16, 100, 404, 599))


@pytest.mark.parametrize("code", [-1, 17, 99, 600, 999])
def test_what_is_no_code_is_not_tried_again(code: int) -> None:
    assert not Retry().wants(code)


def test_http_and_grpc_codes_are_matched_apart() -> None:
    policy = Retry(http_codes=((500, 599),), grpc_codes=())

    assert policy.wants(503) and not policy.wants(404) and not policy.wants(14)
