"""Lines of the log in OTLP's words."""

import asyncio
import threading

from pydapr.observe import logging, logs_otlp
from pydapr.wire import invocation


def test_a_line_has_its_level_message_and_fields() -> None:
    record = logs_otlp.Record(logging.WARNING, "so so", {"scope": "dapr.x", "type": "log", "app_id": "a", "count": 3})
    fields = invocation.fields(logs_otlp.encode(record))
    found = dict(fields)
    assert (found[2], found[3], found[5]) == (13, b"warning", b"\x0a\x05so so")
    assert [value for number, value in fields if number == 6] == [
        b"\x0a\x06app_id\x12\x03\x0a\x01a",
        b"\x0a\x05count\x12\x03\x0a\x013",
    ]
    assert record.scope == "dapr.x"


async def test_a_sink_hears_what_is_written_and_nothing_else() -> None:
    heard: list[logs_otlp.Record] = []
    logging.also(logs_otlp.sink(heard.append))
    try:
        logging.get("dapr.test.sink").debug("too low")
        logging.get("dapr.test.sink").error("said", code=7)
    finally:
        logging.also(None)
    logging.get("dapr.test.sink").error("said later")
    assert [(record.level, record.message, record.scope) for record in heard] == [
        (logging.ERROR, "said", "dapr.test.sink")
    ]
    assert heard[0].fields["code"] == 7


async def test_lines_of_other_threads_are_taken_where_the_loop_runs() -> None:
    heard: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
    take = logs_otlp.sink(lambda record: heard.put_nowait((threading.get_ident(), record.message)))
    await asyncio.to_thread(take, logging.ERROR, "said aside", {})

    assert await asyncio.wait_for(heard.get(), 10) == (threading.get_ident(), "said aside")
