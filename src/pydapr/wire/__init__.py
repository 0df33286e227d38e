"""Protocols as bytes, without I/O or a clock: HTTP/1.1, HTTP/2, HPACK, gRPC, and what sidecars say to each other.

Called by `net`, which moves the bytes. Each module is a state machine or a pure function, tested on bytes alone.
"""
