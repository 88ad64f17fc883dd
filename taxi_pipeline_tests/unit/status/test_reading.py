"""What a status asks of the stores: a listing a folder and a query a table, and no more."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from taxi_pipeline.errors import TransientError
from taxi_pipeline.lake.metadata import CleanedMetadata, RawMetadata
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.sink import Stamp
from taxi_pipeline.status import Facts, State, Status, Totals, read_status
from taxi_pipeline.status.page import to_html
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN, SERVICES, Service, Table
from taxi_pipeline_tests.support.status import AS_OF, NEWEST, figures

LAKE = Lake(bucket="taxi-lake", project="taxi")
SINKS = (BigQuery(project="taxi", dataset="trips"), Postgres(url="postgresql://h/db"))
STAMP = Stamp(1, "AAAAAA==")


def item(name: str, metadata: dict[str, str]) -> LakeObject:
    return LakeObject(name, f"gs://taxi-lake/{name}", 10, 1, "", metadata, STAMP.crc32c)


def objects(service: Service, month: Month) -> dict[str, LakeObject]:
    """Return the objects of a month, by folder."""
    paths, held = object_paths(service, month), figures(service, month)
    rejected = paths.rejected_name("5" * 64)
    raw = RawMetadata("https://p/", "", '"e"', "", "5a", held.published)
    cleaned = CleanedMetadata(
        published=held.published,
        kept=held.kept,
        rejected=held.rejected,
        sha256="5a",
        rejected_rows=rejected,
        trips_by_day=held.trips_by_day,
        cents=held.cents,
    )
    return {
        "raw": item(f"{paths.raw}parquet", raw.to_metadata()),
        "cleaned": item(paths.cleaned, cleaned.to_metadata()),
        "rejected": item(rejected, {"sha256": "5a"}),
    }


def months_of(service: Service) -> list[Month]:
    months = [service.first_month]
    while months[-1] < NEWEST:
        months.append(months[-1].next)
    return months


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Let the stores hold all of history, and return what they are asked."""
    asked: Counter[str] = Counter()
    held = {
        f"{folder}/{service.name}/": [
            item
            for month in months_of(service)
            for kind, item in objects(service, month).items()
            if kind == folder
        ]
        for service in SERVICES.values()
        for folder in ("raw", "cleaned", "rejected")
    }
    services = {service.trips.name: service for service in SERVICES.values()}

    def find(_: Lake, prefix: str) -> list[LakeObject]:
        asked[prefix] += 1
        return held[prefix]

    def stamps(sink: BigQuery | Postgres, table: Table) -> dict[Month | None, Stamp]:
        asked[f"{sink.name} {table.name}"] += 1
        return dict.fromkeys(months_of(services[table.name]), STAMP)

    monkeypatch.setattr(Lake, "find", find)
    monkeypatch.setattr(BigQuery, "stamps", stamps)
    monkeypatch.setattr(Postgres, "stamps", stamps)
    return asked


def status(
    *services: Service,
    first: Month | None = None,
    last: Month | None = None,
    now: datetime = AS_OF,
) -> Status:
    chosen = services or tuple(SERVICES.values())
    return read_status(LAKE, SINKS, Facts(), chosen, first, last, lambda: now)


def test_all_of_history_costs_a_listing_a_folder_and_a_query_a_table(
    asked: Counter[str],
) -> None:
    shown = status()
    assert Totals.of(shown.months).states == {
        State.LOADED: 604,
        State.UNPUBLISHED: 12,
        State.NO_MONTH: 8,
    }
    assert {*asked.values()} == {1}
    assert len(asked) == 4 * 3 + 4 * 2
    assert len(to_html(shown).encode()) < 1_000_000
    assert (shown.as_of, shown.lake, shown.unknown) == (AS_OF, "gs://taxi-lake/", ())
    assert shown.is_complete
    assert not shown.is_chosen
    assert shown.is_good


def test_services_and_months_can_be_chosen(asked: Counter[str]) -> None:
    shown = status(GREEN, first=Month(2013, 6), last=Month(2013, 9))
    assert [(month.name, month.state) for month in shown.months] == [
        ("green 2013-06", State.NO_MONTH),
        ("green 2013-07", State.NO_MONTH),
        ("green 2013-08", State.LOADED),
        ("green 2013-09", State.LOADED),
    ]
    assert all("green" in each for each in asked)
    assert shown.is_chosen
    assert status(GREEN).is_chosen
    assert status(last=Month(2013, 9)).is_chosen


@pytest.mark.usefixtures("asked")
def test_a_month_is_due_by_new_yorks_calendar() -> None:
    one = {"first": Month(2026, 10), "last": Month(2026, 10)}
    before, after = datetime(2026, 12, 1, 4, tzinfo=UTC), datetime(2026, 12, 1, 6, tzinfo=UTC)
    assert [month.state for month in status(GREEN, **one, now=before).months] == [State.UNPUBLISHED]
    assert [month.state for month in status(GREEN, **one, now=after).months] == [State.MISSING]


@pytest.mark.usefixtures("asked")
def test_a_month_is_late_only_for_a_while_and_not_before_a_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent = [Month(2026, month) for month in range(5, 10)]
    late = {("green", month) for month in absent}
    find = Lake.find

    def states(*there: Month) -> list[State]:
        missing = [str(month) for month in absent if month not in there]

        def find_others(lake: Lake, prefix: str) -> list[LakeObject]:
            objects = find(lake, prefix)
            return [each for each in objects if not any(key in each.name for key in missing)]

        monkeypatch.setattr(Lake, "find", find_others)
        monkeypatch.setattr(Postgres, "stamps", lambda *_: {})
        monkeypatch.setattr(BigQuery, "stamps", lambda *_: {})
        facts = Facts(unpublished=late)
        shown = read_status(LAKE, SINKS, facts, [GREEN], absent[0], absent[-1], lambda: AS_OF)
        return [each.state for each in shown.months]

    assert states() == [State.MISSING, *[State.UNPUBLISHED] * 4]
    assert states(Month(2026, 9)) == [*[State.MISSING] * 4, State.UNEQUAL]


@pytest.mark.usefixtures("asked")
def test_a_sink_that_is_away_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise TransientError("It is away.")

    monkeypatch.setattr(Postgres, "stamps", away)
    shown = status()
    assert shown.unknown == ("Postgres could not be asked what it has: It is away.",)
    assert Totals.of(shown.months).loaded == 604
    held = next(month.figures for month in shown.months if month.figures)
    assert held
    assert held.stores == {BigQuery: True, Postgres: None}
    assert (shown.unasked, shown.is_complete, shown.is_good) == (("Postgres",), False, False)


@pytest.mark.usefixtures("asked")
def test_without_the_lake_there_is_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise TransientError("gs://taxi-lake is away.")

    monkeypatch.setattr(Lake, "find", away)
    with pytest.raises(TransientError, match="gs://taxi-lake is away"):
        status()
