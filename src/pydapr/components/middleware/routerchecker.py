"""middleware.http.routerchecker lets requests pass whose path and query match an expression, and answers 400 to others.

    rule: "^/v1.0/invoke/shop/method/[a-z/]+$"

The expression is written as for Go (RE2) and may match anywhere, unless it is anchored. Whatever it is, its time
grows with the length of path and query and no faster.
"""

from pydapr.components import Wrong, component, option, options
from pydapr.components.middleware import Middleware, refuse
from pydapr.lib import re2_linear
from pydapr.net.exchange import Exchange, Handler


@options
class Options:
    rule: str = option("The expression that requests have to match.", default="")


@component("middleware.http.routerchecker", Options)
class RouterChecker(Middleware):
    def __init__(self, options: Options) -> None:
        try:
            self._matches = re2_linear.searcher(options.rule)
        except ValueError as error:
            raise Wrong(f"metadata property rule: failed to compile rule regexp: {error}") from None

    def wrap(self, inner: Handler) -> Handler:
        matches = self._matches

        async def handle(exchange: Exchange) -> None:
            if matches(exchange.target.decode("utf-8", "surrogateescape")):
                await inner(exchange)
            else:
                refuse(exchange, 400, "invalid router")

        return handle
