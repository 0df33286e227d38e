"""Subscriptions of both versions."""

from pydapr.resources import documents, fields, subscription


def a_document(text: bytes) -> fields.Fields:
    found = documents.decode(text)
    assert isinstance(found, dict)
    return fields.Fields(found, "Subscription")


def test_routes_have_rules_and_a_default() -> None:
    found = subscription.read_v2(
        a_document(
            b"metadata: {name: s}\nscopes: [a]\nspec: {pubsubname: p, topic: on, deadLetterTopic: d,"
            b" metadata: {rawPayload: true}, bulkSubscribe: {enabled: true, maxMessagesCount: 5},"
            b' routes: {default: /d, rules: [{match: event.type == "x", path: /x}]}}'
        )
    )
    assert (found.pubsubname, found.topic, found.dead_letter_topic) == ("p", "true", "d")
    assert found.rules == (subscription.Rule('event.type == "x"', "/x"),)
    assert (found.default, found.metadata, found.scopes) == ("/d", {"rawPayload": "true"}, ("a",))
    assert found.bulk_subscribe == subscription.BulkSubscribe(True, 5, 0)


def test_one_route_becomes_the_default() -> None:
    found = subscription.read_v1(a_document(b"metadata: {name: s}\nspec: {topic: t, route: /r}"))
    assert (found.default, found.rules, found.log_name) == ("/r", (), "s")
