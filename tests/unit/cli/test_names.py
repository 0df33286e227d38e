"""Made-up app ids."""

import random

from pydapr.cli import names


def test_names_look_like_app_ids() -> None:
    chosen = random.Random(1)

    assert all(names.app_id((), chosen.choice).replace("-", "").isalpha() for _ in range(100))


def test_a_taken_name_is_not_given_twice() -> None:
    assert names.app_id({"amber-barkbeak"}, lambda words: words[0]) == "amber-barkbeak-21"
