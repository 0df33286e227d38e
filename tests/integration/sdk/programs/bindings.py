"""An app written with the official SDK that takes events of the binding `tick`, and keeps what they say by `files`.

usage: bindings.py PORT
"""

import json
import sys
from typing import Any

from dapr.clients import DaprClient
from dapr.ext.grpc import App, BindingRequest

app: Any = App()  # The SDK's decorators have no types.


@app.binding("tick")  # type: ignore[untyped-decorator]
def tick(request: BindingRequest) -> None:
    with DaprClient() as dapr:
        told = {"zone": request.binding_metadata.get("timeZone"), "text": request.text()}
        made = dapr.invoke_binding("files", "create", json.dumps(told), {"fileName": "event.json"})
        dapr.invoke_binding("files", "create", made.data, {"fileName": "made.json"})


app.run(int(sys.argv[1]))
