"""Calls of actors: from a face, a timer or the scheduler to wherever the actor lives.

Asks `placed` where that is: here, then `hosting` gives the actor its turn; elsewhere, then `peers.actors` takes it to
the sidecar there, which does not take it on again. What finds the actor moved is tried again, by the built-in policy
or the one of a Resiliency resource (v1.18.3, `pkg/actors/router`); the first tries follow sooner than the original's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from pydapr.app import paths
from pydapr.app.channel import Answer, Call
from pydapr.blocks.actors import Claim, Moved, Placed
from pydapr.blocks.actors.hosting import Here
from pydapr.errors import ActorInvokeFailed, ActorRuntimeClosed, BadRequest, Code, DaprError, NoAddress, RpcError
from pydapr.lib import quote
from pydapr.lib.actors import Actor, Host, Reminder
from pydapr.policy.breaker import Refused
from pydapr.policy.resiliency import Definition, Resiliency
from pydapr.policy.runner import DeadlineExceeded, Runner
from pydapr.wire import headers as names

T = TypeVar("T")

WAIT_SECONDS = 60.0
"""How long a call waits until the sidecar knows what it hosts, and until placement says where an actor lives."""

PAUSES = (0.0, 0.1, 0.4, 0.5, 1.0, 1.0, 1.0, 1.0)
"""Seconds before another try; as long altogether as the original's built-in policy, five times a second."""

MOVED = "remote actor moved"
ERROR_HEADER = b"x-daprerrorresponseheader"
"""By this an app says that the answer is an error, whatever its status."""

_ELSEWHERE = frozenset({f"error invoke actor method: {MOVED}", "error invoke actor method: context canceled"})
"""What sidecars say where the actor is not any more, the second by the original when it ends."""

_APP_ID, _NAMESPACE = b"dapr-caller-app-id", b"dapr-caller-namespace"
_OURS = frozenset({_APP_ID, _NAMESPACE})
_REMOTE = b"x-dapr-remote"


class Remote(Protocol):
    """The sidecars elsewhere, as `peers.actors` reaches them. Both methods raise `RpcError`."""

    async def invoke(self, host: Host, actor: Actor, call: Call) -> Answer: ...

    async def remind(self, host: Host, reminder: Reminder) -> bool: ...


class Lost(RpcError):
    """The sidecar where an actor lives could not be reached, or has it no more, time and again."""

    def __str__(self) -> str:
        return self.message


class _Told(Exception):
    """An answer that says that it is an error; policies try it again."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("actor error with details in body")
        self.answer = answer


class _Revocable:
    """Breaks off what a task does when the claim behind it is revoked."""

    __slots__ = ("_task", "is_revoked")

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self.is_revoked = False

    def revoke(self) -> None:
        self.is_revoked = True
        if self._task is not None:
            self._task.cancel()

    @property
    def is_only_reason(self) -> bool:
        """Whether the task was cancelled for nothing else; it is not any more then."""
        return self.is_revoked and self._task is not None and self._task.uncancel() == 0


class Actors:
    """Calls actors for the app beside this sidecar, and for others. All methods raise `DaprError` and `RpcError`."""

    def __init__(
        self,
        placed: Placed,
        here: Here,
        remote: Remote,
        app_id: str,
        namespace: str,
        policies: Resiliency | None = None,
    ) -> None:
        self._placed, self._here, self._remote = placed, here, remote
        self._ours = ((_APP_ID, app_id.encode()), (_NAMESPACE, namespace.encode()))
        self._policies = policies
        self._runner = Runner(DaprError, RpcError, Moved, _Told)
        self._opened = asyncio.Event()
        self._is_open = self._is_over = False

    def open(self) -> None:
        """It is known what is hosted here: calls wait no more."""
        self._is_open = True
        self._opened.set()

    def end(self) -> None:
        """The sidecar stops: nothing is called any more."""
        self._is_over, self._is_open = True, False
        self._opened.set()

    async def ready(self) -> None:
        """Returns when calls are taken."""
        if self._is_open:
            return
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._opened.wait()
        except TimeoutError:
            raise ActorRuntimeClosed(f"the app has not said within {WAIT_SECONDS:.0f}s what it hosts") from None
        if self._is_over:
            raise ActorRuntimeClosed

    async def sure(self) -> bool:
        """Whether what is active here is not given to others already."""
        return await self._placed.sure()

    async def invoke(self, actor: Actor, call: Call, is_remote: bool = False) -> Answer:
        """The answer of an actor to a call whose body is whole; `is_remote` is one that another sidecar sends.

        Of a client of this sidecar policies apply; what it says of who calls does not count.
        """
        if not self._is_open:
            await self.ready()
        if is_remote:
            call.headers = [*call.headers, (_REMOTE, b"true")]
            return await self._invoke(actor, call, True, True)
        for name, _ in call.headers:
            if name in _OURS:
                call.headers = [header for header in call.headers if header[0] not in _OURS]
                break
        if self._policies is None:
            return await self._invoke(actor, call, False, True)
        return await self._under_policies(actor, call)

    async def _under_policies(self, actor: Actor, call: Call) -> Answer:
        assert self._policies is not None
        definition = self._policies.actor_before_lock(actor.type, actor.id, asyncio.get_running_loop().time())
        if definition is None:
            return await self._invoke(actor, call, False, True)
        retries = not definition.has_retries

        async def attempt() -> Answer:
            answer = await self._invoke(actor, call, False, retries)
            if names.first(answer.headers, ERROR_HEADER) is not None:
                raise _Told(answer)
            return answer

        try:
            return await self._run(definition, attempt)
        except _Told as told:
            return told.answer
        except (DeadlineExceeded, Refused) as error:
            raise ActorInvokeFailed(str(error)) from None

    async def _run(self, definition: Definition, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await self._runner.run(definition, attempt, _always)
        except Moved as moved:
            raise ActorInvokeFailed(str(moved)) from None

    async def _invoke(self, actor: Actor, call: Call, is_remote: bool, retries: bool) -> Answer:
        """Tries until the actor is found."""
        _check(actor)
        failed = 0
        while True:
            claim: Claim | None = None
            try:
                claim = self._placed.claim_now(actor)
                if claim is None:
                    claim = await self._claim(actor)
                if claim.is_here:
                    return await self._invoke_here(claim, actor, call)
                claim.release()
                if is_remote:
                    raise ActorInvokeFailed(MOVED)
                return await self._remote.invoke(claim.host, actor, call)
            except NoAddress:
                if not retries or failed >= len(PAUSES):
                    raise
            except Moved as moved:
                if not retries:
                    raise
                if failed >= len(PAUSES):
                    raise ActorInvokeFailed(str(moved)) from None
            except RpcError as error:
                if not _is_elsewhere(error):
                    raise
                if not retries or failed >= len(PAUSES):
                    raise _lost(claim, failed, error) from None
            await asyncio.sleep(PAUSES[failed])
            failed += 1

    async def _invoke_here(self, claim: Claim, actor: Actor, call: Call) -> Answer:
        for name, _ in call.headers:
            if name == _APP_ID:
                break
        else:
            call.headers = [*call.headers, *self._ours]
        revocable = _Revocable()
        claim.when_revoked(revocable.revoke)
        try:
            return await self._here.invoke(actor, call)
        except asyncio.CancelledError:
            if revocable.is_only_reason:
                raise Moved("the actor had to go while it was called") from None
            raise
        finally:
            claim.release()

    async def remind(self, reminder: Reminder, is_remote: bool = False) -> bool:
        """Has a reminder or timer done where its actor lives; whether it is to go on."""
        if not self._is_open:
            await self.ready()
        _check(reminder.actor)
        failed = 0
        while True:
            claim: Claim | None = None
            try:
                claim = self._placed.claim_now(reminder.actor)
                if claim is None:
                    claim = await self._claim(reminder.actor)
                if claim.is_here:
                    return await self._remind_here(claim, reminder)
                claim.release()
                if is_remote:
                    raise RpcError(Code.UNKNOWN, MOVED)
                return await self._remote.remind(claim.host, reminder)
            except NoAddress:
                if failed >= len(PAUSES):
                    raise
            except Moved as moved:
                if failed >= len(PAUSES):
                    raise ActorInvokeFailed(str(moved)) from None
            except RpcError as error:
                if not _is_elsewhere(error):
                    raise
                if failed >= len(PAUSES):
                    raise _lost(claim, failed, error) from None
            await asyncio.sleep(PAUSES[failed])
            failed += 1

    async def _remind_here(self, claim: Claim, reminder: Reminder) -> bool:
        if reminder.skips_turn:
            claim.release()
            return await self._here.remind(reminder)
        revocable = _Revocable()
        claim.when_revoked(revocable.revoke)
        try:
            return await self._here.remind(reminder)
        except asyncio.CancelledError:
            if revocable.is_only_reason:
                raise Moved("the actor had to go while it was reminded") from None
            raise
        finally:
            claim.release()

    async def _claim(self, actor: Actor) -> Claim:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await self._placed.claim(actor)
        except TimeoutError:
            raise ActorRuntimeClosed(
                f"the placement service has not said within {WAIT_SECONDS:.0f}s where actors live"
            ) from None


def _check(actor: Actor) -> None:
    """Refuses ids that lead to another path of the app than one of the actor's: other sidecars may send any, and access
    rules do not concern actors. Raises `BadRequest`."""
    if "." in actor.id or "%" in actor.id:
        if paths.leads_away(actor.id):
            raise BadRequest(f"invalid actorId: name is a path traversal sequence: {quote.go(actor.id)}")


def _lost(claim: Claim | None, retries: int, error: RpcError) -> RpcError:
    address = claim.host.address if claim is not None else ""
    return Lost(error.code, f"failed to invoke target {address} after {retries} retries. Error: {error}")


def _is_elsewhere(error: RpcError) -> bool:
    """Whether a sidecar says that the actor is not there, or does not say anything."""
    if error.code == Code.UNAVAILABLE:
        return True
    if error.code == Code.INTERNAL:
        return error.message in _ELSEWHERE or error.message.endswith(": placement is disseminating")
    return error.code == Code.UNKNOWN and error.message == MOVED


def _always() -> bool:
    return True
