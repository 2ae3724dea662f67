"""Who is asked next: as many at once and a second as a host may have, pauses, and hosts that are left alone."""

import random
from collections import Counter

from pipeline.hosts import REMEMBERED, Hosts


def taken(hosts: Hosts[str], now: float) -> list[tuple[str, str]]:
    """All that may be asked for now."""
    out = []
    while (given := hosts.next(now)) is not None:
        out.append(given)
    return out


def names(hosts: Hosts[str], now: float) -> list[str]:
    return [item for item, _ in taken(hosts, now)]


def test_a_host_has_so_many_at_once_and_the_next_when_one_ends() -> None:
    hosts: Hosts[str] = Hosts(2, None, 9)
    for number in range(4):
        hosts.add("a", f"a{number}", 0)
    hosts.add("b", "b0", 0)
    assert sorted(names(hosts, 0)) == ["a0", "a1", "b0"]
    assert hosts.waiting == 2
    assert hosts.wants("a")
    assert not hosts.wants("b")
    hosts.done("a", 1)
    assert names(hosts, 1) == ["a2"]


def test_hosts_take_turns() -> None:
    hosts: Hosts[str] = Hosts(9, None, 9)
    for number in range(3):
        for name in "abc":
            hosts.add(name, f"{name}{number}", 0)
    assert names(hosts, 0) == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_a_rate_keeps_requests_apart() -> None:
    hosts: Hosts[str] = Hosts(9, 2.0, 9)
    for number in range(3):
        hosts.add("a", f"a{number}", 0)
    assert names(hosts, 0) == ["a0"]
    assert hosts.wake() == 0.5
    assert names(hosts, 0.4) == []
    assert names(hosts, 0.5) == ["a1"]
    assert names(hosts, 1.0) == ["a2"]


def test_a_pause_is_for_the_whole_host_and_for_no_other() -> None:
    hosts: Hosts[str] = Hosts(1, None, 9)
    for name in "aab":
        hosts.add(name, name, 0)
    assert names(hosts, 0) == ["a", "b"]
    hosts.done("a", 0, failed="too_many_requests", pause=5)
    hosts.add("a", "again", 0, delay=5)
    assert names(hosts, 4.9) == []
    assert hosts.wake() == 5
    assert names(hosts, 5) == ["again"]


def test_an_item_that_is_put_off_does_not_hold_up_its_host() -> None:
    hosts: Hosts[str] = Hosts(1, None, 9)
    hosts.add("a", "later", 0, delay=3)
    hosts.add("a", "now", 0)
    assert names(hosts, 0) == ["now"]
    hosts.done("a", 1)
    assert names(hosts, 1) == []
    assert hosts.waiting == 1
    assert names(hosts, 3) == ["later"]


def test_a_host_that_fails_again_and_again_is_left_alone_with_the_reason() -> None:
    hosts: Hosts[str] = Hosts(1, None, 3)
    for number in range(6):
        hosts.add("a", str(number), 0)
    for _ in range(3):
        assert len(names(hosts, 0)) == 1
        hosts.done("a", 0, failed="timed_out: no complete answer in time")
    left = taken(hosts, 0)
    assert [item for item, _ in left] == ["3", "4", "5"]
    assert {why for _, why in left} == {
        "3 failures one after the other, the last: timed_out: no complete answer in time"
    }
    hosts.add("a", "late", 99)
    assert taken(hosts, 99)[0][1].startswith("3 failures")


def test_an_answer_between_failures_forgives_them() -> None:
    hosts: Hosts[str] = Hosts(1, None, 3)
    for failed in ("x", "x", "", "x", "x", ""):
        hosts.add("a", "item", 0)
        assert taken(hosts, 0) == [("item", "")]
        hosts.done("a", 0, failed=failed)


def test_a_host_that_asks_for_too_much_patience_is_left_at_once() -> None:
    hosts: Hosts[str] = Hosts(1, None, 9)
    for item in ("one", "two"):
        hosts.add("a", item, 0)
    assert names(hosts, 0) == ["one"]
    hosts.done("a", 0, failed="asks for 3600 s", leave=True)
    assert taken(hosts, 0) == [("two", "asks for 3600 s")]


def test_hosts_with_nothing_to_do_are_forgotten() -> None:
    hosts: Hosts[str] = Hosts(1, None, 3)
    for number in range(REMEMBERED + 10):
        hosts.add(str(number), "item", 0)
        assert taken(hosts, 0)
        hosts.done(str(number), 0)
    assert len(hosts._hosts) == 0
    for number in range(REMEMBERED + 10):
        hosts.add(str(number), "item", 0)
        assert taken(hosts, 0)
        hosts.done(str(number), 0, failed="x")
    assert len(hosts._hosts) == REMEMBERED


def test_whatever_happens_each_item_is_handed_out_once_and_no_limit_is_broken() -> None:
    draw = random.Random(3)
    for _ in range(30):
        most = draw.randint(1, 3)
        hosts: Hosts[str] = Hosts(most, draw.choice([None, 5.0]), 4)
        out: list[str] = []
        active: Counter[str] = Counter()
        now, number = 0.0, 0
        while number < 300 or hosts.waiting or active.total():
            if number < 300 and draw.random() < 0.6:
                hosts.add(name := draw.choice("abcd"), f"{name}{number}", now, draw.choice([0.0, 0.0, 0.3]))
                number += 1
            given = hosts.next(now)
            if given is not None:
                out.append(given[0])
                if not given[1]:
                    active[given[0][0]] += 1
                    assert active[given[0][0]] <= most
            busy = list(active.elements())
            if busy and draw.random() < 0.5:
                active[name := draw.choice(busy)] -= 1
                hosts.done(name, now, draw.choice(["", "", "x"]), draw.choice([0.0, 0.0, 0.2]))
            now += 0.01
        assert len(out) == len(set(out)) == 300
