"""Dapr's messages on the wire: .proto files, and beside each what `scripts/protos` generates from it.

`google.protobuf` costs a start 20 ms, so the modules below are imported by the first call that needs them.
"""
