import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pysr.upscaling.threads import in_any_order


def results_of(work: Callable[[int], Any], items: range, threads: int = 3, **limits: Any) -> list[Any]:
    limits = {"weigh": lambda item: 1, "most": 100} | limits
    with in_any_order(work, items, threads, **limits) as results:
        return list(results)


def test_every_item_gives_one_result() -> None:
    assert sorted(results_of(lambda item: item * item, range(200))) == [item * item for item in range(200)]


def test_a_slow_item_holds_up_no_other() -> None:
    others = threading.Semaphore(0)

    def work(item: int) -> int:
        if item == 0:
            for _ in range(5):
                assert others.acquire(timeout=60)
        else:
            others.release()
        return item

    assert results_of(work, range(6), threads=2)[-1] == 0


def test_what_is_worked_on_fits_into_memory() -> None:
    lock, taken, seen = threading.Lock(), 0, []

    def work(item: int) -> int:
        nonlocal taken
        with lock:
            taken += item
            seen.append(taken)
        time.sleep(0.001)
        with lock:
            taken -= item
        return item

    assert len(results_of(work, range(1, 30), threads=8, weigh=lambda item: item, most=20)) == 29
    assert max(total for total in seen if total not in range(21, 30)) <= 20  # an item above 20 comes alone


def test_of_light_items_more_are_worked_on_at_the_same_time() -> None:
    busy: set[int] = set()
    light, heavy = 0, 0
    lock = threading.Lock()

    def work(item: int) -> int:
        nonlocal light, heavy
        with lock:
            busy.add(item)
            light = max(light, sum(item % 2 for item in busy))
            heavy = max(heavy, sum(1 - item % 2 for item in busy))
        time.sleep(0.002)
        with lock:
            busy.discard(item)
        return item

    def weigh(item: int) -> int:
        return 1 if item % 2 else 2

    assert len(results_of(work, range(60), threads=2, weigh=weigh, light=1, more=5)) == 60
    assert heavy <= 2
    assert len(results_of(work, range(1, 61, 2), threads=2, weigh=weigh, light=1, more=5)) == 30
    assert 2 < light <= 7


def test_results_that_nobody_takes_do_not_pile_up() -> None:
    begun: list[int] = []
    with in_any_order(begun.append, range(1000), 2, weigh=lambda item: 1, most=100) as results:
        next(results)
        time.sleep(0.05)
        assert len(begun) <= 8


def test_an_error_ends_the_work() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ZeroDivisionError("enough")
        return item

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="enough"):
        results_of(work, range(10**9))
    assert threading.active_count() == before


def test_the_end_of_the_block_interrupts_the_work_and_cleans_up() -> None:
    begun = threading.Semaphore(0)
    cleaned: list[int | str] = []

    def work(item: int) -> int:
        try:
            begun.release()
            while item:
                time.sleep(0.001)
        except Exception:
            cleaned.append("an error of the work")
        finally:
            cleaned.append(item)
        return item

    before = threading.active_count()
    with in_any_order(work, range(4), 3, weigh=lambda item: 1, most=100) as results:
        assert next(results) == 0
        for _ in range(4):
            assert begun.acquire(timeout=60)
    assert sorted(cleaned, key=str) == [0, 1, 2, 3]
    assert threading.active_count() == before
