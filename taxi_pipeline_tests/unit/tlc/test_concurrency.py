import threading
from collections.abc import Iterator

import pytest

from taxi_pipeline.tlc.concurrency import ordered_parallel_map


def test_results_come_in_the_order_of_the_items() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:  # the first is the last to be done
            assert second_is_done.wait(10)
        if item == 1:
            second_is_done.set()
        return item * item

    assert list(ordered_parallel_map(work, range(20))) == [item * item for item in range(20)]


def test_an_error_is_raised_in_the_place_of_its_result() -> None:
    results = ordered_parallel_map(lambda item: 1 // item, [2, 1, 0, 3])
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_error_of_the_items_comes_after_their_results_or_instead() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise EOFError

    with pytest.raises(EOFError):
        list(ordered_parallel_map(str, items()))


def test_only_a_few_items_are_taken_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = ordered_parallel_map(str, items(), threads=3)
    assert next(results) == "0"
    assert len(taken) <= 4
    results.close()
    assert len(taken) <= 4


def test_one_thread_works_in_the_order_of_the_items() -> None:
    worked: list[int] = []
    assert len(list(ordered_parallel_map(worked.append, range(50), threads=1))) == 50
    assert worked == [*range(50)]


def test_what_takes_too_long_ends_the_results_and_nothing_more_is_begun() -> None:
    begun: list[int] = []
    go_on = threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        threading.Timer(1, go_on.set).start()  # long after the time is up
        assert go_on.wait(10)

    with pytest.raises(TimeoutError):
        next(ordered_parallel_map(work, range(100), threads=1, seconds=0))
    assert begun == [0]
    assert go_on.is_set()
