import pyarrow as pa
import pytest

from taxi_pipeline.tlc import duplicates
from taxi_pipeline.tlc.duplicates import Duplicates
from taxi_pipeline_tests.support.row_hashes import row_hashes


def rows(texts: list[str | None], numbers: list[float | None]) -> pa.RecordBatch:
    return pa.record_batch(
        {"text": pa.array(texts, pa.string()), "number": pa.array(numbers, pa.float64())}
    )


def count(*batches: pa.RecordBatch) -> int:
    with Duplicates() as counted:
        for batch in batches:
            counted.add(row_hashes(batch))
        return counted.count()


def test_copies_are_counted_over_all_batches() -> None:
    first = rows(["a", "b", "a", None], [1.0, 1.0, 1.0, 1.0])
    assert count(first) == 1
    assert count(first, first) == 5
    assert count(first.slice(0, 1), first.slice(2, 1)) == 1


def test_no_rows_have_no_copies() -> None:
    assert count() == 0
    assert count(rows([], [])) == 0


@pytest.mark.parametrize(
    "other",
    [
        rows(["b"], [1.0]),
        rows([None], [1.0]),
        rows([""], [1.0]),
        rows(["a"], [None]),
        rows(["a"], [0.0]),
        rows(["a"], [1.0000000000000002]),
    ],
    ids=["text", "null text", "empty text", "null", "zero", "last bit"],
)
def test_a_difference_in_any_column_is_no_copy(other: pa.RecordBatch) -> None:
    assert count(rows(["a"], [1.0]), other) == 0


def test_columns_do_not_cancel_out() -> None:
    one = pa.record_batch({"pickup": [1, 2], "dropoff": [2, 1]})
    assert len({*row_hashes(one).tolist()}) == 2


def test_the_parts_count_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = pa.record_batch({"n": [n % 700 for n in range(1000)]})
    whole = count(numbers)
    monkeypatch.setattr(duplicates, "PART_ROWS", 64)
    assert count(numbers) == whole == 300
