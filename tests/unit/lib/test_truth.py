"""Which words mean yes."""

import pytest

from pydapr.lib.truth import is_true


@pytest.mark.parametrize("word", ["y", "yes", "true", "t", "on", "1", " TRUE\t", "Yes"])
def test_these_words_mean_yes(word: str) -> None:
    assert is_true(word)
    assert is_true(word.encode())


@pytest.mark.parametrize("word", ["", " ", "no", "0", "2", "truly", "off", "y y"])
def test_all_others_do_not(word: str) -> None:
    assert not is_true(word)
    assert not is_true(word.encode())
