"""state.in-memory: what the conformance tests do not see."""

from pydapr.components.state import Set, in_memory


async def test_a_value_written_again_and_again_does_not_pile_up() -> None:
    store = in_memory.InMemory(in_memory.Options())

    for number in range(1000):
        await store.set(Set("k", b"%d" % number, metadata={"ttlInSeconds": "86400"}))

    assert len(store._ends) <= 100
    item = await store.get("k")
    assert item is not None and item.value == b"999"
    await store.close()
