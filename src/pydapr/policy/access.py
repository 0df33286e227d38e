"""Access rules: which apps may call which operations of the app beside this sidecar. Pure.

`compile` makes a table of what the Configuration says, once at the start; `policy.gate` asks it. What decides is
the canonical form of the method (`app.paths.normalize`) and the SPIFFE id in the caller's certificate. Which rule
counts, and its oddities, are the original's (v1.18.3, `pkg/acl`, `pkg/config/acl_trie.go`):

- The policies are found by app id and namespace, the last of several counts. A caller without a policy, of another
  trust domain, or without a certificate gets the global default.
- An operation stands for itself and for whatever lies below it. `/*` stands for one more segment, `/**` for any
  number, a `*` inside a segment for any characters. Among rules that meet a segment the first in the file counts,
  also of two with the same name, and there is no way back from it.
- With an app that speaks HTTP, case does not matter and the verb counts: its own action, else that of `*`, else the
  default. Otherwise the action counts whatever the verbs are.
"""

from __future__ import annotations

from pydapr.lib.record import Record
from pydapr.resources.accesscontrol import ALLOW, DENY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydapr.resources.accesscontrol import AccessControl, AppPolicy, Operation
    from pydapr.security import spiffe

_ONE, _MANY = "*", "**"


class Invalid(ValueError):
    """The rules cannot be used; the sidecar does not start."""


class Decision(Record):
    """Whether a call may pass, and whether it was a policy of the caller that said so or the global default."""

    is_allowed: bool
    by_app: bool


_DECISIONS = {(allowed, by_app): Decision(allowed, by_app) for allowed in (False, True) for by_app in (False, True)}


class _Node:
    """A segment of operations: its action, if an operation ends here, and the segments that may follow."""

    __slots__ = ("_places", "_wild", "action", "following")

    def __init__(self) -> None:
        self.action: _Action | None = None
        self.following: list[tuple[str, _Node]] = []
        self._places: dict[str, int] = {}
        self._wild: list[int] = []

    def grow(self, segment: str) -> _Node:
        """The node of exactly this segment, a new one if need be."""
        place = self._places.get(segment)
        if place is None:
            place = self._places[segment] = len(self.following)
            self.following.append((segment, _Node()))
            if "*" in segment:
                self._wild.append(place)
        return self.following[place][1]

    def meet(self, segment: str, is_last: bool) -> tuple[str, _Node] | None:
        """The first in the file that `segment` meets."""
        exact = self._places.get(segment)
        for place in self._wild:
            if exact is not None and exact <= place:
                break
            pattern = self.following[place][0]
            if is_last if pattern == _ONE else pattern == _MANY or _matches(segment, pattern):
                return self.following[place]
        return None if exact is None else self.following[exact]


class _Action:
    """What an operation says for each verb, and where verbs do not matter."""

    __slots__ = ("by_verb", "whatever")

    def __init__(self, operation: Operation) -> None:
        self.whatever = operation.action
        self.by_verb = dict.fromkeys(operation.http_verbs, operation.action)

    def of(self, verb: str, otherwise: str) -> str:
        return self.by_verb.get(verb, self.by_verb.get("*", otherwise))


class _Policy:
    """What one caller may do."""

    __slots__ = ("default", "root", "trust_domain")

    def __init__(self, policy: AppPolicy, is_http: bool) -> None:
        self.trust_domain, self.default = policy.trust_domain, policy.default_action
        self.root = _Node()
        for operation in policy.operations:
            node = self.root
            for segment in _segments(operation.name, is_http):
                node = node.grow(segment)
            if node.action is None:
                node.action = _Action(operation)

    def find(self, segments: list[str]) -> _Action | None:
        """The action of the operation that is met."""
        node = self.root
        last = len(segments) - 1
        for position, segment in enumerate(segments):
            met = node.meet(segment, position == last)
            if met is None:
                return None
            pattern, node = met
            if node.action is not None:
                if position != last and pattern == _ONE:
                    continue  # a segment that is itself called `*`
                return node.action
        below = node.meet(_ONE, True)  # `/a/*` stands for `/a` too
        return None if below is None else below[1].action


class Access:
    """The compiled rules of one app."""

    def __init__(self, default: str, is_http: bool, policies: dict[tuple[str, str], _Policy]) -> None:
        self._default = default
        self._is_http = is_http
        self._policies = policies

    def decide(self, caller: spiffe.Id | None, operation: str, verb: str) -> Decision:
        """Whether `caller`, None without a certificate, may call `operation`.

        `verb` is empty where there is none. It does not matter with an app that speaks gRPC.
        """
        return self._decide(caller, operation, verb, self._is_http)

    def decide_passing(self, caller: spiffe.Id | None, path: str) -> Decision:
        """The same of a gRPC call that passes through to the app, whatever else that speaks."""
        return self._decide(caller, path, "", False)

    def _decide(self, caller: spiffe.Id | None, operation: str, verb: str, is_http: bool) -> Decision:
        policy = None if caller is None else self._policies.get((caller.app_id, caller.namespace))
        if policy is None or caller is None or policy.trust_domain != caller.trust_domain:
            return _DECISIONS[_is_allow(self._default), False]
        default = policy.default or self._default
        action = policy.find(_segments(operation, is_http))
        if action is None:
            said = default
        elif not is_http:
            said = action.whatever
        else:
            said = action.of(verb, default) if verb else policy.default
        return _DECISIONS[_is_allow(said), bool(policy.default)]


def compile(rules: AccessControl, is_http: bool) -> Access | None:
    """The table of `rules` for an app that speaks HTTP or not; None when there are none. Raises `Invalid`."""
    if not (rules.trust_domain or rules.default_action or rules.policies):
        return None
    without_domain = [policy.app_id for policy in rules.policies if not policy.trust_domain]
    without_namespace = [policy.app_id for policy in rules.policies if not policy.namespace]
    is_unnamed = not all(policy.app_id for policy in rules.policies)
    if without_domain or without_namespace or is_unnamed:
        raise Invalid(
            f"invalid access control spec. missing trustdomain for apps: {_go(without_domain)}, "
            f"missing namespace for apps: {_go(without_namespace)}, "
            f"missing app name on at least one of the app policies: {str(is_unnamed).lower()}"
        )
    policies = {(policy.app_id, policy.namespace): _Policy(policy, is_http) for policy in rules.policies}
    return Access(rules.default_action or DENY, is_http, policies)


def _go(names: Iterable[str]) -> str:
    """A list as Go prints it."""
    return f"[{' '.join(names)}]"


def _is_allow(action: str) -> bool:
    return action.lower() == ALLOW


def _segments(operation: str, is_http: bool) -> list[str]:
    if is_http:
        operation = _lower(operation)
    return operation.removeprefix("/").split("/")


def _lower(text: str) -> str:
    """In lower case letter by letter, like Go: no letter becomes two, none depends on its neighbours."""
    return text.lower() if text.isascii() else "".join([letter.lower()[0] for letter in text])


def _matches(text: str, pattern: str) -> bool:
    """Whether `text` is what `pattern` says, in which `*` is any characters. In linear time per star."""
    first, *middle, last = pattern.split("*")
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    place, end = len(first), len(text) - len(last)
    for piece in middle:
        place = text.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True
