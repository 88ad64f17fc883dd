"""What `python -m benchmarks.history` reckons with: TLC's months, a line through runs, a queue."""

import pytest

from benchmarks.history_months import all_months, published_files, true_rows
from benchmarks.history_report import MonthRun, fitted_line
from benchmarks.simulation import Phase, Run, simulate
from taxi_pipeline.tlc.month import Month

RUN = [Phase(3, "publisher"), Phase(5), Phase(2, "postgres")]


@pytest.mark.parametrize(
    ("runs", "workers", "places", "seconds"),
    [
        ([], 1, {}, 0),
        ([RUN] * 4, 1, {"publisher": 2, "postgres": 2}, 40),  # one after another
        ([RUN] * 4, 2, {"publisher": 2, "postgres": 2}, 20),
        ([RUN] * 4, 9, {}, 10),  # more workers than runs
        ([RUN] * 4, 4, {"publisher": 2}, 13),  # two begin once the first two have downloaded
        ([RUN] * 4, 4, {"publisher": 1}, 19),
        ([RUN] * 4, 3, {"publisher": 1}, 20),  # the fourth waits for a worker, until the 10th
        ([[Phase(1)], [Phase(9)], [Phase(1)]], 2, {}, 9),  # the third goes where the first was
    ],
)
def test_a_queue_has_workers_and_pools_have_places(
    runs: list[Run], workers: int, places: dict[str, int], seconds: float
) -> None:
    assert simulate(runs, workers, places) == seconds


def test_every_month_that_is_published_as_parquet_has_rows() -> None:
    months = all_months()
    assert [months[name][0].key for name in months] == ["2009-01", "2014-01", "2015-01", "2019-02"]
    assert all(true_rows(name, month) > 0 for name, of in months.items() for month in of)
    assert true_rows("yellow", Month(2019, 1)) == 7_697_000
    # the list that is known ends with 2024-05
    assert true_rows("fhvhv", Month(2026, 6)) == true_rows("fhvhv", Month(2023, 6)) == 19_367_000


def test_months_are_chosen_back_from_the_newest_which_has_a_size_of_its_own() -> None:
    months = all_months()["green"]
    files = [file for file in published_files(12, 0.01, 0.5) if file.service.name == "green"]
    assert [file.month for file in files] == months[(len(months) - 1) % 12 :: 12]
    assert files[-1].rows == round(true_rows("green", months[-1]) * 0.5)
    assert files[0].rows == round(true_rows("green", files[0].month) * 0.01)
    assert len(published_files(1, 0.01, 0.5)) == sum(map(len, all_months().values()))


def test_a_line_through_runs_has_seconds_a_month_and_a_row_of_each_service() -> None:
    def run(service: str, rows: int, of_row: float) -> MonthRun:
        pools = {"publisher": 1 + rows * 1e-6, "bigquery": 0.5, "postgres": 0.25}
        ended = sum(pools.values()) + 4 + rows * of_row
        return MonthRun(service, "2021-01", rows, 0, ended, pools)

    line = fitted_line(
        [
            *(run("yellow", rows, 3e-6) for rows in (1_000, 50_000, 900_000)),
            *(run("fhvhv", rows, 8e-6) for rows in (20_000, 2_000_000)),
        ]
    )
    seconds = [(phase.seconds, phase.pool) for phase in line.phases("fhvhv", 1_000_000, gap=2)]
    assert [pool for _, pool in seconds] == ["publisher", "", "bigquery", "postgres"]
    assert [of for of, _ in seconds] == pytest.approx([2, 2 + 4 + 8, 0.5, 0.25])
