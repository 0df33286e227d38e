"""Operations of components, carried out under their policies and measured. Used by the blocks, one each."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from pydapr.policy import resiliency
from pydapr.policy.breaker import Refused
from pydapr.policy.runner import DeadlineExceeded, Runner

if TYPE_CHECKING:
    from pydapr.observe.metrics_blocks import OperationMetrics

T = TypeVar("T")


class Failed(Exception):
    """The operation has failed for good; the message is the reason."""


class Operations:
    """Runs operations of one kind of components. `failure` is what these raise."""

    def __init__(
        self,
        kind: str,
        failure: type[Exception],
        policies: resiliency.Resiliency | None,
        direction: str = resiliency.OUTBOUND,
    ) -> None:
        self._kind, self._policies, self._direction = kind, policies, direction
        self._failures = (failure, DeadlineExceeded, Refused)
        self._runner = Runner(failure)
        self.metrics: OperationMetrics | None = None

    async def run(self, component: str, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        """The result of `operation`, which metrics know as `what`. Raises `Failed`."""
        clock = asyncio.get_running_loop().time
        began = clock()
        definition = None
        if self._policies is not None:
            definition = self._policies.component(component, self._kind, self._direction, began)
        is_success = False
        try:
            if definition is None:
                found = await operation()
            else:
                found = await self._runner.run(definition, operation, lambda: True)
            is_success = True
        except self._failures as error:
            raise Failed(str(error)) from None
        finally:
            if self.metrics is not None:
                self.metrics.done(component, what, is_success, clock() - began)
        return found
