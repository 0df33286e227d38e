"""InvokeService under policies. Called by `api.grpc.invoke`, and there only when a Resiliency resource concerns apps.

A status of the app that is not OK is a failure; as with the original (v1.18.3, `pkg/api/grpc/grpc.go`) it is tried
again whatever the policy matches.
"""

import asyncio
from collections.abc import Awaitable, Callable

from pydapr.app.channel import Header
from pydapr.errors import Code, DaprError, RpcError
from pydapr.policy.breaker import Refused
from pydapr.policy.resiliency import Resiliency
from pydapr.policy.runner import DeadlineExceeded, Runner
from pydapr.wire import appcalls

Told = tuple[list[Header], appcalls.Response]
"""Metadata and answer for the client."""


class FailedResponse(Exception):
    """The app answered with a failure."""

    def __init__(self, told: Told) -> None:
        super().__init__(told[1].message.decode("utf-8", "replace"))
        self.told = told


class GuardedCalls:
    """Makes calls of InvokeService under policies."""

    def __init__(self, policies: Resiliency) -> None:
        self._policies = policies
        self._runner = Runner(FailedResponse, DaprError, RpcError)

    async def told(self, target: str, method: str, once: Callable[[], Awaitable[Told]]) -> Told:
        """What `once`, which makes the call, says in the end. Raises what it raises, and `RpcError`."""
        definition = self._policies.app(target, method, asyncio.get_running_loop().time())
        if definition is None:
            return await once()

        async def attempt() -> Told:
            told = await once()
            if told[1].code != Code.OK:
                raise FailedResponse(told)
            return told

        try:
            return await self._runner.run(definition, attempt, lambda: True)
        except FailedResponse as failed:
            return failed.told
        except DeadlineExceeded as error:
            raise RpcError(Code.DEADLINE_EXCEEDED, str(error)) from None
        except Refused as error:
            raise RpcError(Code.UNKNOWN, str(error)) from None
