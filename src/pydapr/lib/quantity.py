"""Kubernetes quantities (`4Mi`, `1G`, `500k`, `1e3`) to bytes.

Used by flags that take a size; the errors are worded as `k8s.io/apimachinery` and daprd word them.
"""

_SUFFIX_LETTERS = "eEinumkKMGTP"
_DIGITS = "0123456789"
_DECIMAL = {"": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_MOST = (1 << 63) - 1

_BAD_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_BAD_SUFFIX = "unable to parse quantity's suffix"


def to_bytes(text: str) -> int:
    """The bytes `text` stands for; raises ValueError when it is no quantity or no whole number of bytes."""
    negative, whole, fraction, suffix = _split(text)
    form, exponent = _interpret(suffix)
    digits = int((whole + fraction) or "0")
    if digits == 0:
        return 0
    sign = -1 if negative else 1
    if form == "BinarySI":
        return _binary(text, sign * digits, whole, fraction, exponent)
    return _decimal(text, sign * digits, whole + fraction, exponent - len(fraction), form)


def _split(text: str) -> tuple[bool, str, str, str]:
    """Sign, digits before and after the point, suffix."""
    if not text:
        raise ValueError(_BAD_FORMAT)
    rest = text[1:] if text[0] in "+-" else text
    whole, rest = _leading(rest, _DIGITS)
    fraction = ""
    if rest[:1] == ".":
        fraction, rest = _leading(rest[1:], _DIGITS)
    tail = rest.lstrip(_SUFFIX_LETTERS)
    if tail[:1] in ("-", "+"):
        tail = tail[1:]
    if tail.lstrip(_DIGITS):
        raise ValueError(_BAD_FORMAT)
    return text[0] == "-", whole.lstrip("0"), fraction, rest


def _leading(text: str, letters: str) -> tuple[str, str]:
    rest = text.lstrip(letters)
    return text[: len(text) - len(rest)], rest


def _interpret(suffix: str) -> tuple[str, int]:
    """Form and exponent: a power of ten, or of two for `BinarySI`."""
    if suffix in _DECIMAL:
        return "DecimalSI", _DECIMAL[suffix]
    if suffix in _BINARY:
        return "BinarySI", _BINARY[suffix]
    if suffix[:1] in ("e", "E") and suffix[1:].lstrip("+-").isdecimal():
        return "DecimalExponent", int(suffix[1:])
    raise ValueError(_BAD_SUFFIX)


def _binary(text: str, value: int, whole: str, fraction: str, exponent: int) -> int:
    # A fraction of a binary unit is kept as a decimal upstream, and daprd takes no decimal for bytes.
    precise = 15 - len(whole or "0") - int(exponent * 3 / 10) - 1 >= 0
    if fraction or not precise or abs(value) << exponent > _MOST:
        raise ValueError(_not_bytes(f"{{{{0 0}} {{{text}}}  BinarySI}}"))
    return value << exponent


def _decimal(text: str, value: int, digits: str, scale: int, form: str) -> int:
    if len(digits) > 18 or scale < -9:
        raise ValueError(_not_bytes(f"{{{{0 0}} {{{text}}}  {form}}}"))
    amount = value * int(10**scale) if 0 <= scale <= 18 else None
    if amount is not None and abs(amount) <= _MOST:
        return amount
    canonical = scale % 3 == 0 and not digits.endswith("000") and digits[:1] != "0"
    raise ValueError(_not_bytes(f"{{{{{value} {scale}}} {{<nil>}} {text if canonical else ''} {form}}}"))


def _not_bytes(quantity: str) -> str:
    # Go prints its struct here. Where it prints a pointer we print the text.
    return f"cannot get bytes from resource quantity value '{quantity}'"
