"""What is remembered, and what is not."""

from pydapr.lib import memo


def test_results_of_short_texts_are_remembered_and_those_of_long_ones_are_not() -> None:
    asked: list[str] = []

    @memo.of_short(2)
    def upper(text: str) -> str:
        asked.append(text)
        return text.upper()

    long = "l" * (memo.SHORT + 1)
    for text in ("a", "a", long, long, "b", "c", "a"):
        assert upper(text) == text.upper()
    assert asked == ["a", long, long, "b", "c", "a"]
