"""A look into topics, and messages published again."""

from collections.abc import Mapping, Sequence

import pytest

from pydapr.blocks.pubsub import Broker
from pydapr.blocks.pubsub.browse import Browser
from pydapr.blocks.pubsub.errors import CannotBrowse, Forbidden, MetadataInvalid, PubSubNotFound
from pydapr.blocks.pubsub.publish import Publisher
from pydapr.blocks.pubsub.scopes import Scopes
from pydapr.components.pubsub import Browsed, Handler, Message, PubSub, PubSubError, Subscription
from pydapr.components.pubsub.in_memory import InMemory, Options
from pydapr.errors import Code


class Fake(PubSub):
    """A broker with a list of messages, all in one topic; the hundredth of a second is the time of each."""

    def __init__(self, *data: bytes, time: float = 1.0) -> None:
        self.kept = [Browsed(str(number), Message("nsdead", one), time) for number, one in enumerate(data)]
        self.got: list[Message] = []

    async def publish(self, message: Message) -> None:
        if message.topic == "nsbad":
            raise PubSubError("not now")
        self.got.append(message)

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        raise NotImplementedError

    async def browse(
        self, topic: str, after: str, most: int, metadata: Mapping[str, str]
    ) -> tuple[Sequence[Browsed], str]:
        first = int(after) + 1 if after else 0
        found = self.kept[first : first + most]
        return found, found[-1].id if len(self.kept) > first + most else ""


def browser(fake: PubSub, scopes: Scopes | None = None) -> Browser:
    return Browser(Publisher("app", {"ps": Broker("ps", fake, scopes or Scopes(), "ns")}))


async def test_pages_with_the_names_of_the_app() -> None:
    one = browser(Fake(b"a", b"b", b"c"))
    found, after = await one.browse("ps", "dead", "", 2, {})
    assert [(each.id, each.message.topic, each.message.data) for each in found] == [
        ("0", "dead", b"a"),
        ("1", "dead", b"b"),
    ]
    found, after = await one.browse("ps", "dead", after, 2, {})
    assert [each.id for each in found] == ["2"]
    assert after == ""


async def test_what_cannot_be_seen() -> None:
    with pytest.raises(CannotBrowse, match="cannot show") as raised:
        await browser(InMemory(Options())).browse("ps", "t", "", 1, {})
    assert (raised.value.status, raised.value.grpc) == (501, Code.UNIMPLEMENTED)
    with pytest.raises(Forbidden):
        await browser(Fake(), Scopes(protected=frozenset({"t"}))).browse("ps", "t", "", 1, {})
    with pytest.raises(PubSubNotFound):
        await browser(Fake()).browse("other", "t", "", 1, {})


async def test_messages_are_published_again_to_where_they_say_they_were() -> None:
    fake = Fake(b'{"topic":"orders","id":"1"}', b"raw", b'{"topic":"bad"}', b'{"topic":"dead"}')
    done = await browser(fake).replay("ps", "dead", "", None, "", {})
    assert [(one.topic, one.data) for one in fake.got] == [("nsorders", b'{"topic":"orders","id":"1"}')]
    assert done.done == ["0"]
    assert sorted(done.failed) == ["1", "2", "3"]
    assert done.failed["2"].endswith("not now")


async def test_to_a_topic_of_choice_and_only_some() -> None:
    fake = Fake(*(b"%d" % number for number in range(250)))
    done = await browser(fake).replay("ps", "dead", "orders", {"3", "249"}, "", {})
    assert (done.done, done.failed, done.after) == (["3", "249"], {}, "")
    assert [one.data for one in fake.got] == [b"3", b"249"]


async def test_what_comes_meanwhile_is_not_looked_at() -> None:
    fake = Fake(b"a", time=1e12)
    assert (await browser(fake).replay("ps", "dead", "orders", None, "", {})).done == []


async def test_not_to_the_same_topic() -> None:
    with pytest.raises(MetadataInvalid):
        await browser(Fake(b"a")).replay("ps", "dead", "dead", None, "", {})
