"""YAML as the original reads it; expectations come from sigs.k8s.io/yaml 1.4 and gopkg.in/yaml.v3."""

from collections.abc import Callable

import pytest

from pydapr.resources import documents


@pytest.mark.parametrize(
    ("written", "as_json"),
    [
        ("on", "true"),
        ("y", "true"),
        ("No", "false"),
        ("'on'", '"on"'),
        ("~", "null"),
        ("", "null"),
        ("010", "8"),
        ("08", "8"),
        ("0x1F", "31"),
        ("0b11", "3"),
        ("1_000", "1000"),
        ("1e3", "1000"),
        (".5", "0.5"),
        ("1:30", '"1:30"'),
        ("2024-01-02", '"2024-01-02"'),
        ("1.2.3", '"1.2.3"'),
        ("1e21", "1e+21"),
        ("1e-7", "1e-7"),
        ("0.00001", "0.00001"),
        ("18446744073709551615", "18446744073709551615"),
        ("1e400", '"1e400"'),
        ("!!str 5", '"5"'),
        ('!!int "5"', "5"),
        ("[1, {b: <x>, a: null}]", '[1,{"a":null,"b":"\\u003cx\\u003e"}]'),
    ],
)
def test_scalars_of_resources_follow_yaml_1_1_as_go_knows_it(written: str, as_json: str) -> None:
    value = documents.decode(f"v: {written}".encode())
    assert documents.json_text(value) == f'{{"v":{as_json}}}'


@pytest.mark.parametrize(("written", "value"), [("on", "on"), ("true", True), ("010", 8), ("1.10", 1.1)])
def test_scalars_of_configurations_follow_yaml_1_2_and_keep_their_text(written: str, value: object) -> None:
    found = documents.decode_configuration(f"v: {written}".encode())
    assert isinstance(found, dict)
    expected = value if isinstance(value, str) else documents.Plain(written, value)  # type: ignore[arg-type]
    assert found["v"] == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [(5, "5"), (1.1, "1.1"), (1e6, "1e+06"), (1234567.5, "1.2345675e+06"), (-0.0, "-0"), (True, "true")],
)
def test_numbers_where_text_is_wanted_are_printed_with_single_precision(number: object, text: str) -> None:
    assert documents.scalar_text(number) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: b: c", "yaml: mapping values are not allowed in this context"),
        ("a:\n  b\n c: d", "yaml: line 3: mapping values are not allowed in this context"),
        ("x: 1\n\ty: 2", "yaml: line 2: found a tab character that violates indentation"),
        ("x: [1, 2", "yaml: line 1: did not find expected ',' or ']'"),
        ("a: *x", "yaml: unknown anchor 'x' referenced"),
    ],
)
def test_what_is_no_yaml_is_refused_in_gos_words(text: str, words: str) -> None:
    with pytest.raises(documents.DocumentError) as refusal:
        documents.decode(text.encode())
    assert str(refusal.value) == words


def test_anchors_are_repeated_and_merged() -> None:
    found = documents.decode(b"a: &x {k: 1, j: 2}\nb: *x\nc: {<<: *x, k: 3}")
    assert found == {"a": {"k": 1, "j": 2}, "b": {"k": 1, "j": 2}, "c": {"k": 3, "j": 2}}


@pytest.mark.parametrize("read", [documents.decode, documents.decode_configuration])
def test_a_small_text_is_no_huge_document(read: Callable[[bytes], object]) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(documents.DocumentError, match="excessive aliasing"):
        read("\n".join(lines).encode())
    assert read("\n".join(lines[:5]).encode())


@pytest.mark.parametrize("text", [b"[" * 100_000, b"[" * 201 + b"]" * 201, b"a: " + b"{b: " * 201])
def test_depth_is_bounded(text: bytes) -> None:
    with pytest.raises(documents.DocumentError, match="depth"):
        documents.decode(text)
    assert documents.decode(b"[" * 200 + b"]" * 200)


def test_a_key_twice_is_the_last_in_resources_and_an_error_in_configurations() -> None:
    assert documents.decode(b"a: 1\na: 2") == {"a": 2}
    with pytest.raises(documents.DocumentError, match='line 2: mapping key "a" already defined at line 1'):
        documents.decode_configuration(b"a: 1\na: 2")


def test_files_are_split_at_lines_that_begin_with_three_dashes() -> None:
    assert documents.split(b"a\n---\nb\n--- # more\nc") == [b"a", b"b", b"c"]
    assert documents.split(b"---\na\n---\n") == [b"---\na"]
    assert documents.split(b"a\n--- lost") == [b"a"]
    assert documents.split(b"") == []


def test_json_is_yaml() -> None:
    assert documents.decode(b'{"kind": "X", "n": [1, true, null]}') == {"kind": "X", "n": [1, True, None]}
