"""Three members: one leads, and what happens when it is gone, stands still, or is stopped."""

import signal

import grpc
from tests.integration import harness
from tests.integration.placement.conftest import Cluster, Report


def test_one_leads_and_the_others_say_that_they_do_not(cluster: Cluster, report: Report) -> None:
    leader = cluster.leader()
    report(leader, "a", "Cat").await_table(Cat={"a"})
    for follower in cluster.followers():
        text = f"node id={follower.id} is not a leader. Only the leader can serve requests"
        assert report(follower, "a", "Cat").failure() == (grpc.StatusCode.FAILED_PRECONDITION, text)
        assert follower.state() is None
        assert follower.metrics()["dapr_placement_leader_status"] == 0
        assert follower.get(follower.health_port, "/healthz")[0] == 200


def test_another_leads_soon_after_the_leader_was_killed(cluster: Cluster, report: Report) -> None:
    first = cluster.leader()
    report(first, "a", "Cat").await_table(Cat={"a"})
    first.kill()
    second = cluster.leader(limit=10)
    assert second is not first
    report(second, "a", "Cat").await_table(Cat={"a"})
    first.start()
    first.await_ready()
    assert report(first, "b", "Cat").failure()[0] == grpc.StatusCode.FAILED_PRECONDITION
    assert cluster.leader() is second


def test_a_leader_that_stood_still_orders_nothing_any_more(cluster: Cluster, report: Report) -> None:
    first = cluster.leader()
    stream = report(first, "a", "Cat")
    stream.await_table(Cat={"a"})
    count = len(stream.orders)
    first.process.send_signal(signal.SIGSTOP)
    others = Cluster(one for one in cluster if one is not first)
    second = others.leader(limit=10)
    stream.report("Dog")  # waits for the old leader, and would make a round
    first.process.send_signal(signal.SIGCONT)
    assert stream.failure()[0] in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNAVAILABLE)
    assert len(stream.orders) == count
    harness.eventually(lambda: not first.leads, "the first knows that it does not lead")
    assert second.leads and first.process.poll() is None


def test_a_leader_that_is_stopped_makes_room_at_once(cluster: Cluster, report: Report) -> None:
    first = cluster.leader()
    stream = report(first, "a", "Cat")
    stream.await_table(Cat={"a"})
    assert first.stop() == 0
    assert stream.failure()[0] == grpc.StatusCode.UNAVAILABLE
    report(cluster.leader(limit=5), "a", "Cat").await_table(Cat={"a"})


def test_without_a_majority_nobody_leads_until_there_is_one_again(cluster: Cluster, report: Report) -> None:
    leader = cluster.leader()
    stream = report(leader, "a", "Cat")
    stream.await_table(Cat={"a"})
    gone = cluster.followers()
    for member in gone:
        member.kill()
    text = f"node id={leader.id} is not a leader. Only the leader can serve requests"
    assert stream.failure() == (grpc.StatusCode.FAILED_PRECONDITION, text)
    assert not leader.leads
    assert leader.get(leader.health_port, "/healthz")[0] == 200
    gone[0].start()
    gone[0].await_ready()
    report(cluster.leader(limit=10), "a", "Cat").await_table(Cat={"a"})
