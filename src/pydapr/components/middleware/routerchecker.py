"""middleware.http.routerchecker lets requests pass whose path and query match an expression, and answers 400 to others.

    rule: "^/v1.0/invoke/shop/method/[a-z/]+$"

The expression is written as for Go (RE2) and may match anywhere, unless it is anchored. It is carried out by
Python's engine, whose time can explode with expressions such as `(a+)+$`: do not nest repetitions.
"""

from pydapr.components import Wrong, component, option, options
from pydapr.components.middleware import Middleware, refuse
from pydapr.lib import re2
from pydapr.net.exchange import Exchange, Handler


@options
class Options:
    rule: str = option("The expression that requests have to match.", default="")


@component("middleware.http.routerchecker", Options)
class RouterChecker(Middleware):
    def __init__(self, options: Options) -> None:
        try:
            self._rule = re2.compile(options.rule)
        except ValueError as error:
            raise Wrong(f"metadata property rule: failed to compile rule regexp: {error}") from None

    def wrap(self, inner: Handler) -> Handler:
        search = self._rule.search

        async def handle(exchange: Exchange) -> None:
            if search(exchange.target.decode("utf-8", "surrogateescape")) is None:
                refuse(exchange, 400, "invalid router")
            else:
                await inner(exchange)

        return handle
