"""HTTP endpoints."""

from pydapr.resources import documents, fields, httpendpoint

TEXT = b"""
metadata: {name: e}
auth: {secretStore: vault}
spec:
  baseUrl: https://example.com
  headers: [{name: A, value: 1}, {name: B, secretKeyRef: {name: s, key: k}}]
  clientTLS:
    rootCA: {value: pem}
    privateKey: {secretKeyRef: {name: s, key: key}}
    renegotiation: Never
"""


def test_an_endpoint_is_read_with_references_unresolved() -> None:
    content = documents.decode(TEXT)
    assert isinstance(content, dict)
    found = httpendpoint.read(fields.Fields(content, "HTTPEndpoint"))
    assert (found.base_url, found.secret_store) == ("https://example.com", "vault")
    assert [header.value for header in found.headers] == ["1", None]
    assert found.client_tls == httpendpoint.ClientTls(
        root_ca=httpendpoint.Pem("pem"),
        private_key=httpendpoint.Pem(None, fields.SecretKeyRef("s", "key")),
        renegotiation="Never",
    )


def test_no_client_tls_is_none() -> None:
    found = httpendpoint.read(fields.Fields({"metadata": {"name": "e"}}, "HTTPEndpoint"))
    assert found.client_tls is None
    assert found.log_name == "e ()"
