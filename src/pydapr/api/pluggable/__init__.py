"""Components of ours as pluggable components: what an original daprd, or ours, finds at a Unix socket.

Made by `dapr component serve`. `serving` keeps the components and answers, a file per kind says what its services do.
Facts: v1.18.3, `dapr/proto/components/v1`, `pkg/components/pluggable`.
"""
