"""Who gets which job."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

from harness.bench import Station
from harness.campaign.needs import Needs
from harness.campaign.plan import Job
from harness.campaign.pool import Pool

NEEDS = Needs("nucleo_f746zg", "hardware")
ONE, TWO, THREE = (
    Station(name=name, board="nucleo_f746zg", probe=f"06{name}", serial=f"/dev/{name}")
    for name in ("one", "two", "three")
)


def jobs(count: int) -> list[Job]:
    return [cast(Job, SimpleNamespace(needs=NEEDS, number=number)) for number in range(count)]


def pool(todo: list[Job]) -> Pool:
    serving = {NEEDS: {station.name: 1 for station in (ONE, TWO, THREE)}}
    return Pool(todo, serving, threading.Event())


def put_all(found: Pool) -> None:
    while upcoming := found.upcoming():
        found.put(upcoming[0], Future())


def test_places_are_served_in_the_order_in_which_they_came() -> None:
    todo = jobs(3)
    found = pool(todo)
    order = (TWO, THREE, ONE)
    with ThreadPoolExecutor(3) as threads:
        taken = []
        for place, station in enumerate(order, 1):
            taken.append(threads.submit(found.take, station))
            while len(found._line) < place:
                time.sleep(0.001)
        for job, future in zip(todo, taken, strict=True):
            found.put(job, Future())
            item = future.result(timeout=60)
            assert item is not None and item.job is job


def test_a_job_comes_back_before_the_others_and_not_to_who_failed_it() -> None:
    found = pool(jobs(2))
    put_all(found)
    first = cast(Any, found.take(ONE))
    report = cast(Any, object())
    assert found.pass_on(first, ONE, report)
    second = cast(Any, found.take(ONE))
    assert second.job.number == 1
    found.done(second)
    assert found.take(TWO) is first
    assert not found.pass_on(first, TWO, report)  # once is enough
    found.done(first)
    assert all(found.take(station) is None for station in (ONE, TWO, THREE))


def test_what_no_station_is_left_for_is_returned() -> None:
    todo = jobs(20)
    found = pool(todo)
    found.put(todo[0], Future())
    item = cast(Any, found.take(ONE))
    assert found.pass_on(item, ONE, cast(Any, object()))
    assert found.leave(TWO) == []
    assert found.leave(THREE) == [item]  # it failed on the only one that is left
    assert cast(Any, found.leave(ONE)) == todo[1:]
    assert found.upcoming() == []
