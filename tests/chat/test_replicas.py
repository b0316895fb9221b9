"""The least busy server is asked, an ailing one rests, and is tried again one call at a time."""

from collections import Counter
from contextlib import ExitStack

from cst.chat.replicas import FAILURES_BEFORE_REST, FIRST_REST_SECONDS, LONGEST_REST_SECONDS, Replicas


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ask(replicas: Replicas[str], *, ailing: tuple[str, ...] = ()) -> str:
    with replicas.least_busy() as visit:
        visit.is_ailing = visit.server in ailing
        return visit.server


def test_calls_go_where_the_fewest_are_in_flight():
    replicas = Replicas(["a", "b", "c"])
    with ExitStack() as open_calls:
        held = Counter(open_calls.enter_context(replicas.least_busy()).server for _ in range(7))

    assert sorted(held.values()) == [2, 2, 3]


def test_a_slow_server_is_asked_less():
    replicas = Replicas(["a", "b"])
    with replicas.least_busy() as slow:
        others = {ask(replicas) for _ in range(10)}

    assert others == {"a", "b"} - {slow.server}


def test_calls_one_after_another_take_turns():
    replicas = Replicas(["a", "b"])

    assert Counter(ask(replicas) for _ in range(10)) == {"a": 5, "b": 5}


def test_an_ailing_server_rests_and_is_tried_again_with_longer_and_longer_rests():
    clock = Clock()
    replicas = Replicas(["a", "b"], clock=clock)
    while Counter(ask(replicas, ailing=("a",)) for _ in range(4))["a"]:
        pass

    rests = []
    for _ in range(8):
        rested_from = clock.now
        while ask(replicas, ailing=("a",)) != "a":
            clock.now += 0.25
        rests.append(clock.now - rested_from)

    assert rests == [min(FIRST_REST_SECONDS * 2**n, LONGEST_REST_SECONDS) for n in range(8)]


def test_a_failure_among_answers_is_no_ailment():
    replicas = Replicas(["a", "b"])
    for _ in range(FAILURES_BEFORE_REST * 5):
        ask(replicas, ailing=("a",))
        ask(replicas)
        ask(replicas)
        ask(replicas)

    assert Counter(ask(replicas) for _ in range(10)) == {"a": 5, "b": 5}


def test_after_a_rest_one_call_at_a_time_goes_there_until_one_is_answered():
    clock = Clock()
    replicas = Replicas(["a", "b"], clock=clock)
    for _ in range(4 * FAILURES_BEFORE_REST):
        ask(replicas, ailing=("a",))
    clock.now += FIRST_REST_SECONDS
    with ExitStack() as open_calls:
        held = Counter(open_calls.enter_context(replicas.least_busy()).server for _ in range(10))

    assert held["a"] == 1
    assert Counter(ask(replicas) for _ in range(10))["a"] >= 5


def test_where_all_rest_one_is_asked_all_the_same():
    replicas = Replicas(["a"])

    assert {ask(replicas, ailing=("a",)) for _ in range(10)} == {"a"}
