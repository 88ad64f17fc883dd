"""The checks: what a run records of its month, and what they catch when only they are run again."""

from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.sink import CleanedFile
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV, YELLOW
from taxi_pipeline_tests.conftest import Platform, Publish, with_resources
from taxi_pipeline_tests.support.contracts import edge
from taxi_pipeline_tests.support.lake import LosingLake, delete, overwrite
from taxi_pipeline_tests.support.relays import Message, Point, postgres_relay
from taxi_pipeline_tests.support.results import (
    CHECKS,
    EVERY_ROW,
    MATCHES,
    evaluations,
    failed_checks,
    failure_of,
)
from taxi_pipeline_tests.support.source_files import MIRRORED, YELLOW_HEADER, csv_gz, in_month

JOB = YELLOW.trips.name
CHECKS_JOB = f"{JOB}_checks"  # the checks and nothing else


def table(evaluation: dg.AssetCheckEvaluation, name: str) -> list[dict[str, object]]:
    value = evaluation.metadata[name]
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def test_a_run_records_passed_checks_of_its_month(publish: Publish) -> None:
    rows = [in_month("2018-01")] * 39 + [in_month("2018-01", passenger_count="0")]
    platform, _ = publish({MIRRORED.format("2018-01"): csv_gz(*rows)})
    result = platform.run(JOB, "2018-01")
    assert result.success
    assert failed_checks(result) == set()
    found = evaluations(result)
    assert {evaluation.partition for evaluation in found.values()} == {"2018-01"}
    for layer, check in CHECKS:
        key = dg.AssetCheckKey(asset_key(JOB, layer), check)
        history = platform.instance.event_log_storage.get_asset_check_execution_history(key, 1)
        assert [record.partition for record in history] == ["2018-01"]
    every_row = found[EVERY_ROW]
    assert every_row.description == "40 rows were published: 39 kept and 1 rejected."
    assert table(every_row, "compared") == [
        {"figure": "rows", "expected": 40, "actual": 40},
        {"figure": "of the raw file that is there", "expected": True, "actual": True},
    ]
    assert found["cleaned", "rejected_share"].metadata["share"].value == 1 / 40
    for match in MATCHES:
        assert table(found[match], "compared") == [
            {"figure": "rows", "expected": 39, "actual": 39},
            {"figure": "total_amount", "expected": 460.2, "actual": 460.2},
        ]


def test_what_is_odd_in_a_file_warns_and_the_run_goes_on(publish: Publish) -> None:
    rows = [in_month("2017-10", VendorID="77"), in_month("2017-10", VendorID="77"), "garbage"]
    content = csv_gz(*(f"{row},?" for row in rows), header=f"{YELLOW_HEADER},surprise")
    platform, _ = publish({MIRRORED.format("2017-10"): content})
    result = platform.run(JOB, "2017-10")
    assert result.success
    assert platform.entry("yellow", "2017-10").adds_up
    found = evaluations(result)
    said = {
        check: evaluation.description
        for (_, check), evaluation in found.items()
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.WARN
    }
    assert said == {
        "rejected_share": "33.33% of the published rows were rejected; up to 5.00% are expected "
        "(TAXI_REJECTED_SHARE).",
        "unknown_columns": "Not declared: surprise. They stay in raw; declare them in "
        "tlc/services/.",
        "unknown_codes": "Not declared: vendor_id=77 (rows: 2). The trips keep them; declare them "
        "in tlc/services/.",
    }
    assert failed_checks(result) == {("cleaned", check) for check in said}
    assert failed_checks(platform.run(CHECKS_JOB, "2017-10")) == {
        ("cleaned", check) for check in said
    }
    codes = [{"column": "vendor_id", "code": "77", "rows": 2}]
    assert table(found["cleaned", "unknown_codes"], "found") == codes


@pytest.mark.parametrize(("negative", "passes"), [(1, True), (2, False)])
def test_a_rule_warns_above_the_share_that_it_declares(
    publish: Publish, negative: int, passes: bool
) -> None:
    month = "2017-11"
    rows = [in_month(month, fare_amount="-9.5")] * negative + [in_month(month)] * (20 - negative)
    platform, _ = publish({MIRRORED.format(month): csv_gz(*rows)})
    result = platform.run(JOB, month)
    assert result.success
    found = evaluations(result)["cleaned", "negative_fares"]
    assert (found.passed, found.severity) == (passes, dg.AssetCheckSeverity.WARN)
    assert found.metadata["share"].value == negative / 20
    share = f"{negative * 5}.00%"
    assert f"holds for {negative} of 20 trips, which is {share}; up to 5.00% is usual" in str(
        found.description
    )


def asked(platform: Platform, job: str, month: str) -> Counter[str]:
    """Run a job; return how often it has asked each store for the month's rows.

    Of the lake's objects count those that are opened, whose bytes are then read part by part.
    """
    url = urlsplit(platform.resources.postgres.url)
    statements: list[str] = []
    noted: Point[Message] = Point(
        lambda message: bool(message.statement),
        lambda message: statements.append(message.statement),
        times=None,
    )
    with postgres_relay(url.port or 5432, [noted]) as port, edge.recording() as calls:
        there = url._replace(netloc=f"{url.username}:{url.password}@{url.hostname}:{port}").geturl()
        assert with_resources(platform, postgres=Postgres(url=there)).run(job, month).success
    queries = [
        call.body["configuration"].get("query", {}).get("query", "")
        for call in calls
        if call.method.id == "bigquery.jobs.insert"
    ]
    return Counter(
        {
            "BigQuery": sum(f".{JOB}`" in query for query in queries),
            "Postgres": sum("count(*)" in text and f'"tlc"."{JOB}"' in text for text in statements),
            **Counter(
                call.names["object"].partition("/")[0]
                for call in calls
                if call.kind == "storage.objects.get" and "generation" in dict(call.query)
            ),
        }
    )


def test_checks_alone_ask_each_store_once(publish: Publish) -> None:
    month = "2018-11"
    platform, _ = publish({MIRRORED.format(month): five_trips(month)})
    platform.load("yellow", month)
    each = {"BigQuery": 1, "Postgres": 1, "cleaned": 1, "rejected": 1}
    assert asked(platform, CHECKS_JOB, month) == each


def test_the_checks_of_a_run_ask_each_table_once_before_its_load_and_once_afterwards(
    publish: Publish,
) -> None:
    month = "2018-12"
    platform, _ = publish({MIRRORED.format(month): five_trips(month)})
    platform.load("yellow", month)
    found = asked(platform, JOB, month)
    # besides, the load looks what it replaces
    assert (found["BigQuery"], found["Postgres"]) == (2 + 1, 2 + 1)
    # the checks once, and each sink as it loads the trips
    assert (found["cleaned"], found["rejected"]) == (1 + 2, 1)


def test_what_befalls_a_table_after_it_was_replaced_is_seen_by_its_check(publish: Publish) -> None:
    month = "2019-01"
    platform, _ = publish({MIRRORED.format(month): five_trips(month)})
    platform.load("yellow", month)

    class Losing(Postgres):
        def replace(self, cleaned: CleanedFile, run_id: str) -> None:
            super().replace(cleaned, run_id)
            platform.execute(platform.resources.postgres, f"DELETE FROM tlc.{JOB}")

    losing = with_resources(platform, postgres=Losing(url=platform.resources.postgres.url))
    assert failed_checks(losing.run(JOB, month)) == {("postgres", "matches_lake")}


def five_trips(month: str) -> bytes:
    return csv_gz(*(in_month(month, total_amount=f"{dollars}.10") for dollars in range(5)))


def test_a_table_that_was_tampered_with_is_caught_by_the_checks_alone(publish: Publish) -> None:
    month = "2018-03"
    platform, _ = publish({MIRRORED.format(month): five_trips(month)})
    fourth = (
        f"total_amount = 3.1 AND pickup_datetime >= '{month}-01' AND pickup_datetime < '2018-04-01'"
    )
    for statement in (
        f"DELETE FROM {{}} WHERE {fourth}",
        f"INSERT INTO {{}} (pickup_datetime) VALUES ('{month}-15')",
        f"UPDATE {{}} SET total_amount = 3.11 WHERE {fourth}",
    ):
        platform.load("yellow", month)
        platform.bigquery(statement.format(JOB))
        with psycopg.connect(platform.resources.postgres.url) as connection:
            connection.execute(statement.format(f"tlc.{JOB}").encode())
        assert failed_checks(platform.run(CHECKS_JOB, month)) == MATCHES


def test_trips_that_were_tampered_with_are_caught_by_the_checks_alone(
    publish: Publish, tmp_path: Path
) -> None:
    month = "2018-04"
    platform, _ = publish({MIRRORED.format(month): five_trips(month)})
    platform.load("yellow", month)
    lake, place = platform.resources.lake, object_paths(YELLOW, Month.parse(month))
    (cleaned,) = lake.find(place.cleaned)
    trips = pq.read_table(lake.download(cleaned, tmp_path))
    index = trips.schema.names.index("total_amount")
    a_cent_more = pa.array([0.11, 1.10, 2.10, 3.10, 4.10])

    def failed_with(tampered: pa.Table) -> set[tuple[str, str]]:
        pq.write_table(tampered, tmp_path / "tampered")
        overwrite(lake, tmp_path / "tampered", cleaned.name, cleaned.metadata)
        return failed_checks(platform.run(CHECKS_JOB, month))

    assert failed_with(trips) == set()
    assert failed_with(trips[1:]) == {EVERY_ROW, *MATCHES}
    assert failed_with(trips.set_column(index, "total_amount", a_cent_more)) == MATCHES
    lake.delete(cleaned)
    raw_is_there = {("cleaned", "from_publisher")}
    assert failed_checks(platform.run(CHECKS_JOB, month)) == CHECKS - raw_is_there


def test_what_somebody_puts_beside_the_trips_hides_nothing_of_them(
    publish: Publish, tmp_path: Path
) -> None:
    platform, _ = publish({MIRRORED.format("2017-08"): csv_gz(in_month("2017-08"))})
    platform.load("yellow", "2017-08")
    lake, trips = platform.resources.lake, object_paths(YELLOW, Month(2017, 8)).cleaned
    (note := tmp_path / "note").touch()
    overwrite(lake, note, f"{trips}.md", {})
    try:
        assert failed_checks(platform.run(CHECKS_JOB, "2017-08")) == set()
    finally:
        delete(lake, f"{trips}.md")


def test_a_month_that_is_nowhere_passes_no_check(platform: Platform) -> None:
    result = platform.run(CHECKS_JOB, "2012-06")
    assert failed_checks(result) == CHECKS
    for evaluation in evaluations(result).values():
        assert "The lake has no " in (evaluation.description or "")


def test_rows_that_are_not_accounted_for_do_not_reach_the_tables(publish: Publish) -> None:
    path, month = MIRRORED.format("2018-06"), "2018-06"
    platform, _ = publish({path: csv_gz(*[in_month(month)] * 3)})
    platform.load("yellow", month)
    republished, _ = publish({path: csv_gz(*[in_month(month)] * 5, "garbage")})
    lake = republished.resources.lake
    losing = LosingLake(bucket=lake.bucket, project=lake.project)
    result = with_resources(republished, lake=losing).run(JOB, month)
    assert [event.step_key for event in result.get_step_failure_events()] == [
        f"{YELLOW.name}_cleaned_checks"
    ]
    begun = [event.step_key for event in result.all_events if event.is_step_start]
    assert begun == [
        f"{YELLOW.name}_raw",
        f"{YELLOW.name}_cleaned",
        f"{YELLOW.name}_cleaned_checks",
    ]  # and none a second time
    assert platform.will_retry(result) is False
    blocking = evaluations(result)[EVERY_ROW]
    assert not blocking.passed
    said = "The published file has 6 rows, the lake 5: 5 kept and 0 rejected."
    assert blocking.description == said
    entry = republished.entry("yellow", month)
    assert [tally and tally.rows for tally in entry.tables.values()] == [3, 3]


def test_a_share_that_is_none_is_a_clear_failure(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXI_REJECTED_SHARE", "5%")
    result = platform.run(CHECKS_JOB, "2018-07")
    assert failure_of(result).startswith("TAXI_REJECTED_SHARE: '5%' is not a share")
    assert [event for event in result.all_events if event.is_step_up_for_retry] == []


def test_a_service_without_amounts_is_checked_by_its_rows(publish: Publish) -> None:
    month = "2018-08"
    content = csv_gz(
        f"B00013,{month}-01 00:10:00,{month}-01 00:20:00,100,200,1",
        f"B00013,{month}-01 00:10:00,{month}-01 00:20:00,100,200,",
        header="Dispatching_base_number,Pickup_DateTime,DropOff_datetime,PUlocationID,DOlocationID,"
        "SR_Flag",
    )
    platform, _ = publish({f"releases/fhv/fhv_tripdata_{month}.csv.gz": content})
    result = platform.run("fhv_trips", month)
    assert result.success
    assert failed_checks(result, FHV) == set()
    for match in MATCHES:
        assert table(evaluations(result)[match], "compared") == [
            {"figure": "rows", "expected": 2, "actual": 2}
        ]
