"""Work in threads: results in order, few pieces ahead, errors in their place, no thread left."""

import threading
import time
from functools import partial

import pytest

from pipeline.core.errors import DataError
from pipeline.datasets.io.thread_map import ordered_thread_map

SOON = 10.0
"""Seconds after which a test that waits for another thread gives up."""


def test_results_come_in_the_order_of_the_tasks_whichever_ends_first():
    second_is_done = threading.Event()

    def first():
        assert second_is_done.wait(SOON)
        return "first"

    def second():
        second_is_done.set()
        return "second"

    assert list(ordered_thread_map([first, second], workers=2)) == ["first", "second"]


@pytest.mark.parametrize("workers", [None, 1, 2, 7])
@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_every_task_gives_one_result(n, workers):
    squares = ordered_thread_map([partial(pow, number, 2) for number in range(n)], workers)

    assert list(squares) == [number**2 for number in range(n)]


def test_tasks_run_at_once():
    both = threading.Barrier(2)

    assert sorted(ordered_thread_map([partial(both.wait, SOON)] * 2, workers=2)) == [0, 1]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_at_most_two_more_tasks_than_workers_are_ahead_of_the_consumer(workers):
    taken, ahead = [], []

    def tasks():
        for number in range(40):
            taken.append(number)
            yield partial(int, number)

    for consumed, _ in enumerate(ordered_thread_map(tasks(), workers)):
        ahead.append(len(taken) - consumed)

    assert max(ahead) == workers + 2
    assert len(taken) == 40


def test_no_task_is_taken_before_the_first_result_is_asked_for():
    taken = []

    ordered_thread_map(taken.append(number) for number in range(3))

    assert taken == []


def test_an_exception_comes_in_its_place_and_ends_the_work():
    begun, results = [], []

    def task(number):
        begun.append(number)
        if number == 3:
            msg = "the fourth"
            raise DataError(msg)
        return number

    with pytest.raises(DataError, match=r"^the fourth$"):
        results.extend(
            ordered_thread_map([partial(task, number) for number in range(99)], workers=2)
        )

    assert results == [0, 1, 2]
    assert max(begun) <= 3 + 2 + 2


def test_an_exception_of_the_task_iterator_is_raised():
    def tasks():
        yield partial(int, 1)
        msg = "cannot read the file to its end"
        raise DataError(msg)

    with pytest.raises(DataError, match=r"^cannot read the file to its end$"):
        list(ordered_thread_map(tasks(), workers=2))


def test_a_generator_closed_early_begins_nothing_more_and_leaves_no_thread():
    before, begun = set(threading.enumerate()), []

    def task(number):
        begun.append(number)
        time.sleep(0.01)
        return number

    results = ordered_thread_map([partial(task, number) for number in range(99)], workers=2)
    first = next(results)
    results.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(SOON)

    assert first == 0
    assert max(begun) <= 2 + 2
    assert set(threading.enumerate()) <= before


def test_a_generator_left_behind_may_be_closed_by_one_of_its_own_threads():
    left_behind, closed = threading.Event(), threading.Event()

    def close():
        assert left_behind.wait(SOON)
        results.close()
        closed.set()

    results = ordered_thread_map([partial(int, 1), close], workers=1)
    next(results)
    left_behind.set()

    assert closed.wait(SOON)


def test_after_an_exception_nothing_runs_on():
    finished = []

    def slow():
        time.sleep(0.05)
        finished.append("slow")

    with pytest.raises(ZeroDivisionError):
        list(ordered_thread_map([partial(divmod, 1, 0), slow, slow, slow], workers=2))
    at_the_exception = list(finished)
    time.sleep(0.1)

    assert finished == at_the_exception
