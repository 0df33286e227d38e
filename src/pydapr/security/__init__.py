"""Who we are and who others are: SPIFFE ids, certificates, trust anchors, TLS between Dapr's processes."""
