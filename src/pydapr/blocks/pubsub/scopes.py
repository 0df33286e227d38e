"""Which topics an app may publish to and subscribe to, read from a broker's metadata. Pure.

Used by `daprd.pubsub`, which reads the metadata, and by whoever publishes and subscribes. The rules are the original's
(v1.18.3, `pkg/scopes`, `pkg/runtime/pubsub/adapter.go`): names of metadata are compared without regard to case, blanks
do not count, and an empty list is none.
"""

from collections.abc import Mapping

from pydapr.lib.record import Record

PUBLISHING, SUBSCRIPTION = "publishingScopes", "subscriptionScopes"
ALLOWED, PROTECTED = "allowedTopics", "protectedTopics"

_NONE: frozenset[str] = frozenset()


class Scopes(Record):
    """What one app may do with the topics of one broker."""

    publishing: frozenset[str] = _NONE
    subscription: frozenset[str] = _NONE
    allowed: frozenset[str] = _NONE
    protected: frozenset[str] = _NONE

    def can_publish(self, topic: str) -> bool:
        """Whether the app may publish to `topic`."""
        return self._can(topic, self.publishing)

    def can_subscribe(self, topic: str) -> bool:
        """Whether the app may subscribe to `topic`."""
        return self._can(topic, self.subscription)

    def _can(self, topic: str, scoped: frozenset[str]) -> bool:
        if self.allowed and topic not in self.allowed:
            return False
        if not scoped and topic not in self.protected:
            return True
        return topic in scoped


def read(properties: Mapping[str, str], app_id: str) -> Scopes:
    """The scopes of `app_id` in a broker's metadata."""
    given = {name.lower(): value.replace(" ", "") for name, value in properties.items()}
    return Scopes(
        _of_app(given.get(PUBLISHING.lower(), ""), app_id),
        _of_app(given.get(SUBSCRIPTION.lower(), ""), app_id),
        _topics(given.get(ALLOWED.lower(), "")),
        _topics(given.get(PROTECTED.lower(), "")),
    )


def _of_app(text: str, app_id: str) -> frozenset[str]:
    """The topics of one app in `app1=topic1,topic2;app2=`; an app with none has the topic "", that is no topic."""
    found: set[str] = set()
    for entry in text.split(";"):
        app, sign, rest = entry.partition("=")
        if sign and app == app_id:
            found.update(rest.partition("=")[0].split(","))
    return frozenset(found)


def _topics(text: str) -> frozenset[str]:
    return frozenset(text.split(",")) if text else _NONE
