"""middleware.http.oauth2clientcredentials gets a token for the client itself, and shows it with each request.

The token is kept until shortly before it ends. When none can be had, requests are answered with 500 and do not go on.
"""

import time
from urllib.parse import parse_qsl

from pydapr.components import Wrong, component, option, options
from pydapr.components.drivers import oauth2
from pydapr.components.middleware import Middleware, refuse
from pydapr.lib.pathfilter import PathFilter
from pydapr.net.exchange import Exchange, Handler
from pydapr.observe import logging

log = logging.get("dapr.contrib")


@options
class Options:
    client_id: str = option("The client's id with the OAuth2 server.")
    client_secret: str = option("The client's secret with the OAuth2 server.")
    scopes: str = option("What the token is for, separated by commas.")
    token_url: str = option("Where tokens are given out.")
    header_name: str = option("The header field that shows the token, such as `Authorization`.")
    endpoint_params_query: str = option("Further parameters for the token endpoint: `a=b&c=d`.", default="")
    auth_style: int = option("Id and secret: 0 tries both ways, 1 in the body, 2 by Basic authentication.", default=0)
    path_filter: str = option("Only requests whose path matches this expression get a token.", default="")


@component("middleware.http.oauth2clientcredentials", Options)
class OAuth2ClientCredentials(Middleware):
    def __init__(self, options: Options) -> None:
        if options.auth_style not in (0, 1, 2):
            raise Wrong(f"Parameter 'authStyle' can only have the values 0,1,2. Received: '{options.auth_style}'.")
        self._name = options.header_name.strip().lower().encode()
        self._filter = PathFilter(options.path_filter)
        endpoint = oauth2.TokenEndpoint(options.token_url, options.client_id, options.client_secret, options.auth_style)
        parameters = [("grant_type", "client_credentials"), ("scope", options.scopes.replace(",", " "))]
        parameters += parse_qsl(options.endpoint_params_query)
        self._held = oauth2.Held(endpoint, parameters, time.monotonic)

    def wrap(self, inner: Handler) -> Handler:
        async def handle(exchange: Exchange) -> None:
            if self._filter.matches(exchange.target):
                try:
                    value = await self._held.header()
                except (OSError, ValueError) as error:
                    log.error(f"Error acquiring token: {error}")
                    refuse(exchange, 500, "Internal Server Error")
                    return
                kept = [field for field in exchange.headers if field[0] != self._name]
                exchange.headers = [*kept, (self._name, value.encode())]
            await inner(exchange)

        return handle
