"""What is measured beside what: each step has our way of it, and the others'."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.inputs import CSVS, MEASURED, MONTH, PARQUETS, Published

_DAGSTER = str(Path(sys.executable).with_name("dagster"))


@dataclass(frozen=True)
class Step:
    """A step of a month, and the ways to do it.

    Attributes:
        name: What the results call it.
        ours: Our way.
        others: What it is measured against.
        files: The published files that it is measured on; none where it is done in the stack, on
            the forms that are prepared of one.
    """

    name: str
    ours: str
    others: Sequence[str]
    files: Sequence[Published] = ()

    @property
    def ways(self) -> list[str]:
        """Ours and the others."""
        return [self.ours, *self.others]


# ways that reject nothing
ANY_ROWS = {"parse_alone", "decode_alone", "reencode_alone"}

# ways that are measured once: they take ten times as long as ours, more or less
ONCE = {"clean_pandas", "postgres_dlt"}

# ways that look into a sink, which is loaded first: one process looks several times
LOOKS = {
    "postgres_day",
    "postgres_day_scan",
    "postgres_rows",
    "postgres_columns",
    "postgres_fingerprint",
    "bigquery_rows",
    "bigquery_columns",
    "bigquery_fingerprint",
}

# each in turn on each of its files, without the stack
OF_FILES = (
    Step(
        "csv.gz to the lake",
        "clean_ours",
        ("clean_pandas", "clean_duckdb", "clean_polars", "parse_alone", "encode_alone"),
        [MEASURED],
    ),
    Step(
        "csv.gz to the lake",
        "clean_ours",
        ("clean_duckdb", "clean_polars"),
        [file for file in CSVS if file != MEASURED],
    ),
    Step("raw's count and cleaning", "examine_and_clean_ours", ("clean_ours",), [MEASURED]),
    Step(
        "Parquet to the lake",
        "clean_ours",
        ("clean_polars", "clean_duckdb", "reencode_alone", "decode_alone"),
        PARQUETS,
    ),
    Step(
        "raw's count and cleaning",
        "examine_and_clean_ours",
        ("clean_ours",),
        [file for file in PARQUETS if file.rows <= 1_000_000],
    ),
)

# a month first: its old flow measures `postgres_pandas` too
IN_STACK = (
    Step("a month", "month_dagster", ("month_old", "month_bare")),
    Step(
        "Parquet to PostgreSQL",
        "postgres_ours",
        (
            "postgres_pandas",
            "postgres_psql",
            "postgres_dlt",
            "postgres_adbc",
            "postgres_server",
            "postgres_server_new",
            "postgres_driver_new",
        ),
    ),
    Step("PostgreSQL's index", "postgres_ours", ("postgres_no_index",)),
    Step("a day in PostgreSQL", "postgres_day", ("postgres_day_scan",)),
    Step("Parquet to BigQuery", "bigquery_ours", ("bigquery_dataframe", "bigquery_load_job")),
    Step("counting cells, lake", "lake_columns", ("lake_read", "lake_fingerprint")),
    Step(
        "counting cells, PostgreSQL",
        "postgres_columns",
        ("postgres_rows", "postgres_fingerprint"),
    ),
    Step("counting cells, BigQuery", "bigquery_columns", ("bigquery_rows", "bigquery_fingerprint")),
    Step("loading the code location", "load_ours", ("load_dagster",)),
    Step("a job of one empty asset", "empty_ours", ("empty_alone",)),
)


def job(module: str, name: str, month: object = None) -> list[str]:
    """Return the command that runs a job of Dagster's, of a month if there is one."""
    tags = ["--tags", json.dumps({"dagster/partition": str(month)})] if month else []
    return [_DAGSTER, "job", "execute", "-m", module, "-j", name, *tags]


# ways that are whole processes, from their start to their end
PROCESSES = {
    "month_dagster": job("taxi_pipeline.definitions", "yellow_trips", MONTH),
    "load_ours": [sys.executable, "-c", "import taxi_pipeline.definitions"],
    "load_dagster": [sys.executable, "-c", "import dagster"],
    "empty_ours": job("benchmarks.empty_job_of_ours", "empty"),
    "empty_alone": job("benchmarks.empty_job", "empty"),
}
