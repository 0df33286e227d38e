"""`dapr invoke`: call a method of an app through the app's own sidecar."""

import sys

from pydapr.cli import grammar, sidecars, status

FLAGS = (
    grammar.Flag("app-id", "The application id to invoke", short="a", required=True),
    grammar.Flag("method", "The method to invoke", short="m", required=True),
    grammar.Flag("data", "The JSON serialized data string (optional)", short="d"),
    grammar.Flag("verb", "The HTTP verb to use", short="v", default="POST"),
    grammar.Flag("data-file", "A file containing the JSON serialized data (optional)", short="f"),
    grammar.Flag(
        "unix-domain-socket",
        "Path to a unix domain socket dir. If specified, Dapr API servers will use Unix Domain Sockets",
        short="u",
    ),
)

EXAMPLE = """\
# Call the method neworder of the app orders with POST
dapr invoke --app-id orders --method neworder --data '{"id":42}'

# Call it with GET
dapr invoke --app-id orders --method orders/42 --verb GET
"""


def run(values: grammar.Values, _: list[str]) -> int:
    from pydapr.cli import payload

    app_id = values.text("app-id")
    body = payload.read(values, "invoke")
    if body is None:
        return 1
    if values.text("unix-domain-socket"):
        status.warning("Unix domain sockets are currently a preview feature")
    try:
        answer = _call(values, app_id, body)
    except (OSError, ValueError) as wrong:
        status.failure(f"error invoking app {app_id}: {wrong}")
        return 1
    if answer:
        sys.stdout.flush()
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.flush()
    status.success("App invoked successfully")
    return 0


def _call(values: grammar.Values, app_id: str, body: bytes) -> bytes:
    from pydapr.cli import address, sidecar_api

    sidecar = next((one for one in sidecars.find() if one.app_id == app_id), None)
    if sidecar is None:
        raise ValueError(f"app ID {app_id} not found")
    directory = values.text("unix-domain-socket") or sidecar.socket_directory
    path = address.socket_path(directory, app_id, "http") if directory else ""
    answer = sidecar_api.request(
        address.Address(sidecar.http_port, path),
        values.text("verb"),
        f"/v1.0/invoke/{app_id}/method/{values.text('method')}",
        body,
        "application/json",
    )
    if not 200 <= answer.status < 400:
        raise ValueError(f"{answer.status} {answer.reason}")
    return answer.body
