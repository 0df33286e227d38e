"""HPACK's Huffman code (RFC 7541 appendix B), decoding only: to send it would cost more than it saves.

Called by `wire.hpack` for literals it has not met before. The code is canonical, so the lengths below define
it. A step leads from one node of the code tree over one whole byte to another node; it is worked out when
first needed, so importing this module is cheap and a byte that comes again costs one dict lookup.
"""

_SYMBOLS_BY_LENGTH = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: bytes.fromhex("5cc3d0"),
    20: bytes.fromhex("808283a2b8c2e0e2"),
    21: bytes.fromhex("99a1a7acb0b1b3d1d8d9e3e5e6"),
    22: bytes.fromhex("8184858688929a9ca0a3a4a9aaadb2b5b9babbbdbec4c6e4e8e9"),
    23: bytes.fromhex("0187898a8b8c8d8f93959697989b9d9ea5a6a8aeafb4b6b7bcbfc5e7ef"),
    24: bytes.fromhex("098e9091949fabced7e1eced"),
    25: bytes.fromhex("c7cfeaeb"),
    26: bytes.fromhex("c0c1c8c9cacdd2d5dadbeef0f2f3ff"),
    27: bytes.fromhex("cbccd3d4d6dddedff1f4f5f6f7f8fafbfcfdfe"),
    28: bytes.fromhex("020304050607080b0c0e0f1011121314151718191a1b1c1d1e1f7fdcf9"),
    30: bytes.fromhex("0a0d16"),
}
_EMPTY = -1
"""In the tree: nothing is here. A leaf is -2 minus its symbol; other numbers are nodes."""

_BOUND = 8192
"""Steps remembered at most; there are 65,536, and text needs a few hundred."""


class HuffmanError(Exception):
    """The bytes are not a Huffman-coded string."""


def _plant() -> list[int]:
    """The code tree: the children of node n stand at 2n and 2n + 1. The end-of-string code stays empty."""
    tree = [_EMPTY, _EMPTY]
    code, last = 0, 5
    for length, symbols in _SYMBOLS_BY_LENGTH.items():
        code <<= length - last
        last = length
        for symbol in symbols:
            _insert(tree, code, length, symbol)
            code += 1
    return tree


def _insert(tree: list[int], code: int, length: int, symbol: int) -> None:
    node = 0
    for shift in range(length - 1, 0, -1):
        place = 2 * node + (code >> shift & 1)
        if tree[place] == _EMPTY:
            tree[place] = len(tree) // 2
            tree += (_EMPTY, _EMPTY)
        node = tree[place]
    tree[2 * node + (code & 1)] = -2 - symbol


def _padding(tree: list[int]) -> frozenset[int]:
    """Where a string may end: up to seven one bits after a symbol (RFC 7541 section 5.2)."""
    nodes = [0]
    for _ in range(7):
        nodes.append(tree[2 * nodes[-1] + 1])
    return frozenset(node << 8 for node in nodes)


_TREE = _plant()
_MAY_END = _padding(_TREE)
_steps: dict[int, tuple[int, bytes]] = {}


def _step(key: int) -> tuple[int, bytes]:
    """From `key`, which is node and byte, to the next node (shifted like it) and what was decoded."""
    node, byte = key >> 8, key & 0xFF
    symbols = b""
    for shift in range(7, -1, -1):
        node = _TREE[2 * node + (byte >> shift & 1)]
        if node == _EMPTY:
            raise HuffmanError
        if node < 0:
            symbols += bytes((-2 - node,))
            node = 0
    if len(_steps) >= _BOUND:
        _steps.clear()
    result = _steps[key] = (node << 8, symbols)
    return result


def decode(data: bytes) -> bytes:
    """The string that `data` stands for. Raises `HuffmanError`."""
    node = 0
    pieces = []
    get = _steps.get
    for byte in data:
        step = get(node | byte)
        if step is None:
            step = _step(node | byte)
        node, piece = step
        pieces.append(piece)
    if node not in _MAY_END:
        raise HuffmanError
    return b"".join(pieces)
