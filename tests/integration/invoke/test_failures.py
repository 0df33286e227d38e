"""What is told when an app or a sidecar is gone, and how calls recover."""

import threading

import pytest
from tests.integration import harness
from tests.integration.harness import World
from tests.integration.http_wire import OK, Broken, always, answer


def test_app_that_is_gone_is_named(world: World) -> None:
    app = world.app()
    callee, caller = world.sidecar("callee", app), world.sidecar("caller")
    app.close()

    node = f"127.0.0.1:{app.port}"
    refused = f'Post \\"http://{node}/m?q=1\\": dial tcp {node}: connect: connection refused'
    url = f"/v1.0/invoke/{callee.app_id}/method/m?q=1"
    remote = "rpc error: code = Internal desc = error invoking app channel: "
    for sidecar, prefix in ((callee, ""), (caller, remote)):
        reply = sidecar.call("POST", url, body=b"x")
        text = f"failed to invoke, id: {callee.app_id}, err: {prefix}{refused}"
        assert reply.status == 500
        assert reply.body.decode() == f'{{"errorCode":"ERR_DIRECT_INVOKE","message":"{text}"}}'


def test_sidecar_without_an_app_says_so(world: World) -> None:
    callee, caller = world.sidecar("callee"), world.sidecar("caller")

    url = f"/v1.0/invoke/{callee.app_id}/method/m"

    assert b"err: cannot invoke local endpoint: app channel not initialized" in callee.call("GET", url).body
    assert b"code = Internal desc = app channel is not initialized" in caller.call("GET", url).body


def test_killed_sidecar_is_an_error_and_no_hang(world: World) -> None:
    callee, caller = world.sidecar("callee", world.app()), world.sidecar("caller")
    url = f"/v1.0/invoke/{callee.app_id}/method/m"
    assert caller.call("GET", url).status == 200
    callee.kill()

    reply = caller.call("GET", url)

    assert reply.status == 500
    assert b"ERR_DIRECT_INVOKE" in reply.body


def test_restarted_sidecar_is_found_under_load(world: World) -> None:
    """Calls that fail are tried again within the built-in policy; after the restart none fails any more."""
    app = world.app(always(OK))
    flags = ("--dapr-internal-grpc-port", str(harness.free_port()))
    callee, caller = world.sidecar("callee", app, *flags), world.sidecar("caller")
    url = f"/v1.0/invoke/{callee.app_id}/method/m"
    stop = threading.Event()
    statuses: list[int] = []

    def load() -> None:
        while not stop.is_set():
            statuses.append(caller.call("POST", url, body=b"x").status)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    harness.eventually(lambda: len(statuses) > 50, "calls before")
    callee.kill()
    world.sidecar("callee", app, *flags)
    harness.eventually(lambda: caller.call("POST", url, body=b"x").status == 200, "a call after the restart")
    recovered = len(statuses)
    harness.eventually(lambda: len(statuses) > recovered + 50, "calls after")
    stop.set()
    for thread in threads:
        thread.join(20)

    assert set(statuses[:50]) == {200}
    assert set(statuses[-20:]) == {200}


def test_instances_share_the_calls_in_turn(world: World) -> None:
    apps = [world.app(always(answer(body=b"%d" % number))) for number in range(3)]
    for started in [world.daprd("callee", app) for app in apps]:
        started.await_ready()
    caller = world.sidecar("caller")
    url = f"/v1.0/invoke/{world.app_id('callee')}/method/m"
    harness.eventually(lambda: len({caller.call("GET", url).body for _ in range(6)}) == 3, "all three are known")

    answers = [caller.call("GET", url).body for _ in range(30)]

    assert {answers.count(body) for body in set(answers)} == {10}


@pytest.mark.skipif(bool(harness.OTHER), reason="the original keeps calling the dead instance for a while")
def test_only_calls_of_a_killed_instance_may_fail(world: World) -> None:
    """With -9 under load: nothing hangs, and soon every call succeeds again."""
    apps = [world.app(always(OK)) for _ in range(3)]
    callees = [world.daprd("callee", app) for app in apps]
    for callee in callees:
        callee.await_ready()
    caller = world.sidecar("caller")
    url = f"/v1.0/invoke/{world.app_id('callee')}/method/m"
    harness.eventually(lambda: caller.call("GET", url).status == 200 and all(app.seen for app in apps), "all are known")
    statuses: list[int] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            try:
                statuses.append(caller.call("GET", url).status)
            except (Broken, OSError):
                statuses.append(0)

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    harness.eventually(lambda: len(statuses) > 100, "load")
    callees[0].kill()
    harness.eventually(lambda: len(statuses) > 600, "load goes on", 15)
    stop.set()
    for thread in threads:
        thread.join(15)

    assert not any(thread.is_alive() for thread in threads)
    assert len(statuses) - statuses.count(200) <= 6
    assert set(statuses[-200:]) == {200}


def test_a_name_that_is_no_text_is_nobodys(world: World) -> None:
    sidecar = world.sidecar("app")

    reply = sidecar.call("GET", "/v1.0/invoke/a%ae/method/m")

    assert reply.status == 500
    assert b"invalid app id: it is no UTF-8" in reply.body
    assert "Traceback" not in sidecar.log
