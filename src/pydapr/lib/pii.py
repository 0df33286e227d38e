"""Personal data in a text, found by its form and replaced by its kind: `<EMAIL_ADDRESS>`. Pure.

Used by `blocks.conversation`. What is found, and what wins where several kinds fit, is the original's (v1.18.3, library
pii-scrubber): the first place, there the longest, there the kind that is last in `_KINDS`; nothing inside links and
addresses of Git repositories. It finds rather too much than too little: any number of four digits may be a telephone's.
Where finds overlap the original leaves single letters in clear, this does not. Time grows with the length of the text
only: all repetitions are bounded.
"""

import ipaddress
import re
from collections.abc import Iterator

_STREETS = (
    "street", "st", "avenue", "ave", "road", "rd", "highway", "hwy", "square", "sq", "trail", "trl", "drive", "dr",
    "court", "ct", "park", "parkway", "pkwy", "circle", "cir", "boulevard", "blvd",
)  # fmt: skip
_GAP = r"[-.\s*]?"
_AREA = r"(?:[2-9]1[02-9]|[2-9][02-8]1|[2-9][02-8][02-9])"
_DOT = r"\s{0,9}(?:[.-]\s{0,9})?"

_EXTENDED = (
    rf"(?:(?:\+?1{_DOT})?(?:\(\s{{0,9}}{_AREA}\s{{0,9}}\)|{_AREA}){_DOT})?"
    rf"(?:[2-9]1[02-9]|[2-9][02-9]1|[2-9][02-9]{{2}}){_DOT}\d{{4}}\s{{0,9}}(?:#|x\.?|ext\.?|extension)\s{{0,9}}\d{{0,20}}"
)
"""A number in North America with an extension."""

_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("STREET_ADDRESS", (rf"\d{{1,4}} [\w\s]{{1,20}}(?:{'|'.join(_STREETS)})\W?",)),
    ("CREDIT_CARD", (r"(?:\d{4}[- ]?){3}\d{4}|\d{15,16}",)),
    (
        "PHONE_NUMBER",
        (_EXTENDED, rf"(?:\+?\d{{1,3}}{_GAP})?(?:\(?\d{{2,3}}\)?{_GAP})?\d{{2,3}}{_GAP}\d{{2,6}}"),
    ),
    ("EMAIL_ADDRESS", ()),
    ("IP", ()),
    ("ZIP_CODE", (r"\b\d{5}(?:[-\s]\d{4})?\b",)),
    ("PO_BOX", (r"P\.? ?O\.? Box \d{1,40}",)),
    ("US_SSN", (r"\d{3}-\d{2}-\d{4}",)),
    ("ISBN", (r"(?:\d-?){9}[\dx]", r"(?:\d-?){12}[\dx]")),
    ("MAC_ADDRESS", (r"(?:[a-f\d]{2}[:-]){5}[a-f\d]{2}",)),
    ("IBAN", (r"(?-i:[A-Z]{2}\d{2}[A-Z\d]{4}\d{7}[A-Z\d]{0,16})",)),
)
_PATTERNS = {kind: [re.compile(pattern, re.ASCII | re.IGNORECASE) for pattern in patterns] for kind, patterns in _KINDS}

_BYTE = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
_IPV4 = re.compile(rf"(?:{_BYTE}\.){{3}}{_BYTE}", re.ASCII)
_IPV6 = re.compile(r"[\da-f]{0,4}(?::[\da-f]{0,4}){2,8}(?:(?:\.\d{1,3}){3})?(?:%\w{1,64})?", re.ASCII | re.IGNORECASE)

_BEFORE_AT = re.compile(r"[a-z\d!#$%&'*+/=?^_{|.}~-]{1,256}", re.ASCII | re.IGNORECASE)
"""What is before the @, from there to the left: any other way its beginning would have to be looked for."""

_AFTER_AT = re.compile(
    r"(?:[a-z\d](?:[a-z\d-]{0,62}[a-z\d])?\.){1,30}[a-z\d](?:[a-z\d-]{0,62}[a-z\d])?", re.ASCII | re.IGNORECASE
)
_LEFT_ALONE = (
    re.compile(r"https?://[a-z\d.-]{1,256}\.[^\s<>]{0,2000}[^\s!()\[\]{};:'\".,<>?]", re.ASCII),
    re.compile(r"(?:git@[\w.]{1,256}|git|ssh|https?):(?://)?[\w.@:/~-]{1,2000}\.git/?", re.ASCII),
)


def scrub(text: str) -> str:
    """`text` with all personal data replaced."""
    alone = _left_alone(text)
    pieces: list[str] = []
    done, next_ = 0, 0
    for begin, end, kind in _found(text):
        while next_ < len(alone) and alone[next_][1] < begin:
            next_ += 1
        if end <= done or (next_ < len(alone) and alone[next_][0] <= end):
            continue
        pieces += (text[done : max(begin, done)], f"<{kind}>")
        done = end
    return "".join((*pieces, text[done:])) if pieces else text


def _left_alone(text: str) -> list[tuple[int, int]]:
    """What is not looked into, in order, and none of it twice."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(match.span() for pattern in _LEFT_ALONE for match in pattern.finditer(text)):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged


def _found(text: str) -> list[tuple[int, int, str]]:
    """What may be personal data: begin, end and kind, by the place where it begins, the one that wins first."""
    found = []
    for rank, (kind, _) in enumerate(_KINDS):
        spans = [match.span() for pattern in _PATTERNS[kind] for match in pattern.finditer(text)]
        if kind == "EMAIL_ADDRESS":
            spans += _emails(text)
        elif kind == "IP":
            spans += _addresses(text)
        found += [(begin, -end, -rank, kind) for begin, end in spans]
    return [(begin, -end, kind) for begin, end, _, kind in sorted(found)]


def _emails(text: str) -> Iterator[tuple[int, int]]:
    at = text.find("@")
    while at != -1:
        before = _BEFORE_AT.match(text[max(0, at - 256) : at][::-1])
        after = _AFTER_AT.match(text, at + 1) if before is not None else None
        if before is not None and after is not None:
            yield at - before.end(), after.end()
        at = text.find("@", at + 1)


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    for match in _IPV4.finditer(text):
        yield match.span()
    for match in _IPV6.finditer(text):
        try:
            ipaddress.IPv6Address(match[0])
        except ValueError:
            continue
        yield match.span()
