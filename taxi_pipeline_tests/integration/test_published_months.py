"""The sensor `published_months`, tick by tick, with a real lake and real HTTP servers."""

import gzip
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.automation import publisher_sensor
from taxi_pipeline.automation.publisher_sensor import IN_TURN, RECENT
from taxi_pipeline.definitions import build_definitions, defs
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.google import CloudStorage
from taxi_pipeline.lake.metadata import PENDING
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.local.publisher import url_templates
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN, SERVICES, YELLOW, Service
from taxi_pipeline_tests.conftest import Platform, with_publisher
from taxi_pipeline_tests.support.http import (
    Answer,
    body,
    receiving,
    refused_by_cloudfront,
    serving,
    status,
)
from taxi_pipeline_tests.support.lake import overwrite
from taxi_pipeline_tests.support.source_files import YELLOW_HEADER, trip

# Then yellow has 57 months, to 2013-09, green two, and the other services none.
THEN = datetime(2013, 11, 15, tzinfo=UTC)
NEWEST = Month(2013, 9)
MODIFIED = "Wed, 20 Jul 2022 10:00:00 GMT"  # as `body` answers
EARLIER = "Tue, 01 Jan 2019 00:00:00 GMT"


def in_mirror(service: Service, month: Month) -> str:
    return f"/releases/{service.name}/{service.name}_tripdata_{month}.csv.gz"


def at_tlc(service: Service, month: Month) -> str:
    return f"/trip-data/{service.name}_tripdata_{month}.parquet"


# What the cursor has where none of the recent months is published.
ALL_LATE = (
    '"unpublished":["green/2013-08","green/2013-09",'
    '"yellow/2013-07","yellow/2013-08","yellow/2013-09"]'
)


@dataclass
class Sensor:
    """The sensor with its surroundings; each tick begins with the cursor of the last."""

    lake: Lake
    instance: dg.DagsterInstance
    base: str = ""
    notify: str = ""
    cursor: str | None = None
    at: datetime = THEN

    def tick(self) -> tuple[list[dg.RunRequest], str]:
        """Evaluate a tick; return the runs requested, and why there are none."""
        resources = {
            "publisher": Publisher(urls=url_templates(self.base), zones_url="", look_timeout=2),
            "lake": self.lake,
            "notifier": Notifier(url=self.notify),
        }
        context = dg.build_sensor_context(
            self.instance, self.cursor, definitions=defs, resources=resources
        )
        with dg.partition_loading_context(self.at), context:
            found = defs.resolve_sensor_def("published_months").evaluate_tick(context)
        self.cursor = found.cursor
        return list(found.run_requests or ()), found.skip_message or ""

    def has(
        self, service: Service, month: Month, url: str, etag: str = "", modified: str = MODIFIED
    ) -> LakeObject:
        """Put a raw object into the lake, as a run does."""
        origin = {
            "source_url": url,
            "etag": etag,
            "last_modified": modified,
            "stored_at": PENDING,
        }
        return self.put(service, month, origin)

    def put(self, service: Service, month: Month, metadata: dict[str, str]) -> LakeObject:
        return overwrite(
            self.lake, Path(__file__), f"{object_paths(service, month).raw}parquet", metadata
        )


@pytest.fixture
def sensor(platform: Platform) -> Iterator[Sensor]:
    """Return the sensor with a lake of its own and an instance without a memory."""
    project, bucket = platform.resources.lake.project, f"published-{uuid4().hex}"
    CloudStorage(project=project).get_client().create_bucket(bucket)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Sensor(Lake(bucket=bucket, project=project), instance)


type Serve = Callable[[Mapping[str, list[Answer]]], list[str]]


@pytest.fixture
def serve(sensor: Sensor) -> Iterator[Serve]:
    """Return a function that gives the sensor a publisher, and returns the paths asked of it."""
    with ExitStack() as servers:

        def served(answers: Mapping[str, list[Answer]]) -> list[str]:
            sensor.base, asked = servers.enter_context(serving(dict(answers)))
            return asked

        yield served


def keys(requests: list[dg.RunRequest]) -> list[str | None]:
    return [request.run_key for request in requests]


def test_a_new_month_is_requested_and_the_same_way_while_it_is_missing(
    sensor: Sensor, serve: Serve
) -> None:
    serve({at_tlc(YELLOW, NEWEST): [body(b"x", '"v1"')]})
    (request,), skipped = sensor.tick()
    assert skipped == ""
    assert (request.job_name, request.partition_key) == ("yellow_trips", "2013-09")
    assert request.run_key == 'yellow/2013-09/"v1"/0'
    assert request.tags["service"] == "yellow"
    assert request.tags["dagster/partition"] == "2013-09"
    assert int(request.tags["dagster/priority"]) > 0  # before what a person launches
    # Dagster runs a key once: a file that fails is not fetched at every tick
    assert keys(sensor.tick()[0]) == [request.run_key]
    sensor.has(YELLOW, NEWEST, sensor.base + at_tlc(YELLOW, NEWEST), '"v1"')
    assert sensor.tick()[0] == []


def test_an_old_month_keeps_no_other_run_waiting(sensor: Sensor, serve: Serve) -> None:
    serve({at_tlc(YELLOW, Month(2009, 1)): [body(b"x", '"v1"')]})
    (request,), _ = sensor.tick()
    assert request.partition_key == "2009-01"
    assert int(request.tags["dagster/priority"]) < 0  # as a backfill's months


def test_what_is_not_published_is_said_and_not_requested(sensor: Sensor, serve: Serve) -> None:
    asked = serve({})
    requests, skipped = sensor.tick()
    assert requests == []
    # five recent months (yellow has three, green two) and those in turn
    assert skipped == (
        "29 months asked, 29 of them not published yet, none new; next from yellow 2011-01 on."
    )
    assert len(asked) == 2 * 29


def test_an_unchanged_month_is_asked_for_and_left(sensor: Sensor, serve: Serve) -> None:
    path = in_mirror(GREEN, NEWEST)

    def careless(request: BaseHTTPRequestHandler) -> None:  # it never answers 304
        status(200, ETag='"v1"')(request)

    for answer in (body(b"x", '"v1"'), careless):
        asked = serve({path: [answer]})
        sensor.has(GREEN, NEWEST, sensor.base + path, '"v1"')
        requests, skipped = sensor.tick()
        assert requests == []
        # one of green's is before the one that is there
        assert ", 27 of them not published yet, 1 missing before a later one, none new" in skipped
        assert asked.count(path) == 1


def test_a_rewritten_month_is_requested_in_place_of_what_the_lake_has(
    sensor: Sensor, serve: Serve
) -> None:
    path = in_mirror(GREEN, NEWEST)
    serve({path: [body(b"x", '"v2"')]})
    first = sensor.has(GREEN, NEWEST, sensor.base + path, '"v1"')
    requests, _ = sensor.tick()
    assert keys(requests) == [f'green/2013-09/"v2"/{first.generation}']
    # it becomes what it was, after v2 has come: another object is replaced, so the key is new
    second = sensor.has(GREEN, NEWEST, sensor.base + path, '"v3"')
    assert second.generation != first.generation
    requests, _ = sensor.tick()
    assert keys(requests) == [f'green/2013-09/"v2"/{second.generation}']


def test_what_was_rewritten_and_what_is_late_stays_in_the_cursor_until_it_is_asked_again(
    sensor: Sensor, serve: Serve
) -> None:
    def kept() -> tuple[dict[str, str], list[str]]:
        cursor = json.loads(sensor.cursor or "")
        return cursor.get("rewritten", {}), cursor.get("unpublished", [])

    path, old = in_mirror(GREEN, NEWEST), in_mirror(YELLOW, Month(2009, 1))
    serve({path: [body(b"x", '"v2"')], old: [body(b"x")]})
    sensor.has(GREEN, NEWEST, sensor.base + path, '"v1"')
    sensor.has(YELLOW, Month(2009, 1), sensor.base + old, modified=EARLIER)
    sensor.tick()
    late = [f"yellow/2013-0{month}" for month in (7, 8, 9)]  # green's 2013-08 is before a later one
    was_old = {"yellow/2009-01": EARLIER}
    assert kept() == ({"green/2013-09": '"v1"', **was_old}, late)
    sensor.has(GREEN, NEWEST, sensor.base + path, '"v2"')
    sensor.tick()  # other months have their turn
    assert kept() == (was_old, late)
    sensor.base = "http://127.0.0.1:1"
    sensor.tick()
    assert kept() == (was_old, late)


def test_without_etags_the_date_tells(sensor: Sensor, serve: Serve) -> None:
    path = in_mirror(GREEN, NEWEST)
    serve({path: [body(b"x")]})
    sensor.has(GREEN, NEWEST, sensor.base + path, modified=MODIFIED)
    assert sensor.tick()[0] == []
    old = sensor.has(GREEN, NEWEST, sensor.base + path, modified=EARLIER)
    assert keys(sensor.tick()[0]) == [f"green/2013-09/{MODIFIED}/{old.generation}"]


def test_an_object_that_was_deleted_is_requested_by_another_key(
    sensor: Sensor, serve: Serve
) -> None:
    path = in_mirror(GREEN, NEWEST)
    serve({path: [body(b"x", '"v1"')]})
    (first,) = keys(sensor.tick()[0])
    raw = sensor.has(GREEN, NEWEST, sensor.base + path, '"v1"')
    event = dg.AssetMaterialization("green_raw", partition="2013-09")
    sensor.instance.report_runless_asset_event(event)
    assert sensor.tick()[0] == []
    sensor.lake.delete(raw)
    (again,) = keys(sensor.tick()[0])
    assert first == 'green/2013-09/"v1"/0'
    assert again != first
    assert again is not None
    assert again.startswith('green/2013-09/"v1"/')
    assert keys(sensor.tick()[0]) == [again]


def test_a_month_new_at_the_preferred_publisher_is_requested_until_fetched(
    sensor: Sensor, serve: Serve
) -> None:
    mirror, tlc = in_mirror(GREEN, NEWEST), at_tlc(GREEN, NEWEST)
    serve({mirror: [body(b"x", '"m"')], tlc: [body(b"x", '"t"')]})
    from_tlc = sensor.has(GREEN, NEWEST, sensor.base + tlc, '"t"')
    assert keys(sensor.tick()[0]) == [f'green/2013-09/"m"/{from_tlc.generation}']
    sensor.has(GREEN, NEWEST, sensor.base + mirror, '"m"')
    assert sensor.tick()[0] == []


def test_an_object_that_others_put_there_is_left_alone_and_named(
    sensor: Sensor, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = serve({in_mirror(GREEN, NEWEST): [body(b"x", '"v1"')]})
    sensor.put(GREEN, NEWEST, {"by": "hand"})
    sensor.put(YELLOW, Month(2009, 1), {})
    requests, skipped = sensor.tick()
    assert requests == []
    assert in_mirror(GREEN, NEWEST) not in asked
    assert in_mirror(YELLOW, Month(2009, 1)) not in asked
    assert skipped.startswith("28 months asked")
    named = "Put into the lake by others and left alone: yellow 2009-01, green 2013-09."
    assert named in capsys.readouterr().err


def test_a_restored_generation_is_left_alone_though_it_has_our_metadata(
    sensor: Sensor, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    path = in_mirror(GREEN, NEWEST)
    asked = serve({path: [body(b"x", '"v2"')]})
    raw = sensor.has(GREEN, NEWEST, sensor.base + path, '"v1"')
    raw = sensor.lake.annotate(raw, {"stored_at": raw.created})
    assert len(sensor.tick()[0]) == 1  # it was rewritten
    bucket = CloudStorage(project=sensor.lake.project).get_client().bucket(sensor.lake.bucket)
    bucket.copy_blob(bucket.blob(raw.name), bucket, "older generation")
    bucket.copy_blob(bucket.blob("older generation"), bucket, raw.name)
    asked.clear()
    assert sensor.tick()[0] == []
    assert path not in asked
    assert "left alone: green 2013-09." in capsys.readouterr().err


@pytest.mark.parametrize("selection", [None, frozenset({asset_key("green_trips", "cleaned")})])
def test_a_month_with_an_unfinished_run_waits(
    sensor: Sensor, serve: Serve, selection: frozenset[dg.AssetKey] | None
) -> None:
    asked = serve({in_mirror(GREEN, NEWEST): [body(b"x", '"v1"')]})
    run = create_run_for_test(
        sensor.instance,
        "__ASSET_JOB" if selection else "green_trips",
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": "2013-09"},
        asset_selection=selection,
    )
    assert sensor.tick()[0] == []
    assert in_mirror(GREEN, NEWEST) not in asked
    assert in_mirror(YELLOW, NEWEST) in asked
    sensor.instance.report_run_canceled(run)
    assert keys(sensor.tick()[0]) == ['green/2013-09/"v1"/0']


def test_every_month_has_its_turn_once_a_round(sensor: Sensor, serve: Serve) -> None:
    asked = serve({})
    others = [key for key in months_at(THEN, YELLOW) if key < "2013-07"]
    assert len(others) == 54
    turns = itertools.cycle(others)
    for _ in range(9):  # four rounds
        asked.clear()
        sensor.tick()
        for service in (YELLOW, GREEN):
            assert asked.count(at_tlc(service, NEWEST)) == 1
        # two are asked at once, so within a tick their order is open
        found = {path[-15:-8] for path in asked if path.startswith("/trip-data/yellow")}
        assert found & {*others} == {*itertools.islice(turns, IN_TURN)}


def months_at(time: datetime, service: Service) -> list[str]:
    with dg.partition_loading_context(time):
        return list(months_of(service).get_partition_keys())


@pytest.mark.parametrize("cursor", ["", "{", "[]", "7", '{"after": 7}', '{"unreachable": "?"}'])
def test_a_damaged_cursor_starts_over(sensor: Sensor, serve: Serve, cursor: str) -> None:
    asked = serve({})
    sensor.cursor = cursor
    sensor.tick()
    assert in_mirror(YELLOW, Month(2009, 1)) in asked
    assert sensor.cursor == f'{{"after":"yellow/2010-12","unreachable":false,{ALL_LATE}}}'


def test_an_unreachable_publisher_is_told_of_once_until_it_answers_again(
    sensor: Sensor, serve: Serve
) -> None:
    told: list[dict[str, str]] = []

    def receive(request: BaseHTTPRequestHandler) -> None:
        told.append(json.loads(request.rfile.read(int(request.headers["Content-Length"]))))
        status(200)(request)

    with serving({"/": [receive]}) as (receiver, _):
        sensor.notify = f"{receiver.replace('http', 'json')}/"
        serve(everywhere(status(503)))
        for _ in range(2):
            requests, skipped = sensor.tick()
            assert requests == []
            assert skipped.startswith("0 months asked, 0 of them not published yet, 3 without an")
            assert "could not be asked: " in skipped
            assert skipped.endswith("answered 503 Service Unavailable.")
            assert len(told) == 1
        assert told[0]["title"] == "The publisher of TLC's trips cannot be asked"
        assert "answered 503 Service Unavailable." in told[0]["message"]
        down = sensor.base
        serve({})
        assert "could not" not in sensor.tick()[1]
        assert len(told) == 1
        sensor.base = down
        sensor.tick()
        assert len(told) == 2
        serve({})
        sensor.tick()
        with serving({}) as (sensor.base, _):
            pass
        assert "Failed to establish a new connection" in sensor.tick()[1]
        assert len(told) == 3
        assert "Failed to establish a new connection" in told[2]["message"]


def test_a_month_that_fails_costs_no_other_its_turn_and_nobody_is_told(
    sensor: Sensor, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = in_mirror(YELLOW, NEWEST)
    new = [(YELLOW, Month(2009, 1)), (YELLOW, Month(2013, 7)), (GREEN, NEWEST)]
    answers = {in_mirror(*month): [body(b"x", '"v1"')] for month in new}
    asked = serve({**answers, broken: [status(503)]})
    with receiving() as (sensor.notify, told):
        requests, _ = sensor.tick()
        assert {(of.job_name, of.partition_key) for of in requests} == {
            ("yellow_trips", "2009-01"),
            ("yellow_trips", "2013-07"),
            ("green_trips", "2013-09"),
        }
        logged = capsys.readouterr().err
        assert f"{broken} answered 503 Service Unavailable." in logged
        assert "28 months asked, 1 of them not published yet, 24 missing before a later" in logged
        assert "1 without an answer, 3 new; next from yellow 2011-01 on." in logged
        for _ in range(3):
            sensor.tick()
    assert told == []
    assert sensor.cursor is not None
    assert json.loads(sensor.cursor)["unreachable"] is False
    # all but the one, which is not asked for at TLC, and its turn is every tick's
    assert {path for path in asked if path.startswith("/trip-data")} == {
        at_tlc(service, month)
        for service, month in months_then()
        if (service, month) not in [*new, (YELLOW, NEWEST)]
    }
    assert asked.count(broken) == 4


@pytest.mark.parametrize("broken", [YELLOW, GREEN])
def test_a_service_whose_months_all_fail_does_not_starve_another(
    sensor: Sensor, serve: Serve, broken: Service
) -> None:
    (fine,) = (one for one in (YELLOW, GREEN) if one != broken)
    asked = serve(everywhere(status(503), broken))
    for _ in range(4):
        asked.clear()
        sensor.tick()
        for key in months_at(THEN, fine)[-RECENT:]:
            assert at_tlc(fine, Month.parse(key)) in asked


def test_asking_ends_after_three_failures_in_a_row_and_goes_on_behind_them(
    sensor: Sensor, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Month(2009, 1)
    failing = [Month(2009, 5), Month(2009, 6), Month(2009, 7)]  # the recent ones come before
    fine = in_mirror(YELLOW, first)
    asked = serve(
        {fine: [body(b"x", '"v1"')]}
        | {in_mirror(YELLOW, month): [status(500)] for month in failing}
    )
    with receiving() as (sensor.notify, told):
        requests, _ = sensor.tick()
    assert [request.partition_key for request in requests] == ["2009-01"]
    assert "1 new; then the publisher could not be asked: " in capsys.readouterr().err
    assert [message["title"] for message in told] == [
        "The publisher of TLC's trips cannot be asked"
    ]
    # up to what was under way
    assert in_mirror(YELLOW, Month(2009, 11)) not in asked
    assert sensor.cursor == f'{{"after":"yellow/2009-07","unreachable":true,{ALL_LATE}}}'
    asked.clear()
    sensor.tick()
    assert not {in_mirror(YELLOW, month) for month in failing} & {*asked}
    assert in_mirror(YELLOW, Month(2009, 8)) in asked


def test_failures_with_answers_between_them_do_not_end_the_asking(
    sensor: Sensor, serve: Serve
) -> None:
    failing = [Month(2009, month) for month in (1, 2, 4, 5, 7, 8, 10, 11)]
    asked = serve({in_mirror(YELLOW, month): [status(500)] for month in failing})
    _, skipped = sensor.tick()
    assert skipped.startswith("21 months asked, 21 of them not published yet, 8 without an answer")
    assert skipped.endswith("next from yellow 2011-01 on.")
    assert len([path for path in asked if path.startswith("/releases")]) == 29


@pytest.mark.parametrize(
    "refusal", [refused_by_cloudfront(), status(403, **{"Retry-After": "60"}), status(403)]
)
def test_people_are_told_where_the_publisher_refuses_us(
    sensor: Sensor, serve: Serve, refusal: Answer
) -> None:
    at_both = everywhere(refusal) | {
        at_tlc(*month): [body(b"x", '"v1"')] for month in months_then()
    }
    asked = serve(at_both)
    with receiving() as (sensor.notify, told):
        for _ in range(2):
            requests, skipped = sensor.tick()
            assert requests == []  # no month of the mirror's is taken from TLC
            assert "then the publisher could not be asked: " in skipped
    assert [message["title"] for message in told] == [
        "The publisher of TLC's trips cannot be asked"
    ]
    assert "answered 403 Forbidden" in told[0]["message"]
    assert "the publisher refuses us" in told[0]["message"]
    assert not [path for path in asked if path.startswith("/trip-data")]


@pytest.mark.parametrize("where", ["the lake", "the publisher"])
def test_a_month_before_a_published_one_is_not_called_unpublished_yet(
    sensor: Sensor, serve: Serve, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    later = Month(2009, 6)
    url = in_mirror(YELLOW, later)
    serve({url: [body(b"x", '"v1"')]} if where == "the publisher" else {})
    if where == "the lake":
        sensor.has(YELLOW, later, sensor.base + url, '"v1"')
    sensor.tick()
    shown = capsys.readouterr().err
    missing = ", ".join(f"yellow 2009-0{month}" for month in range(1, 6))
    assert f"Not to be had from the publisher, which has a later month: {missing}.\n" in shown


def test_missing_months_are_counted_and_not_all_of_them_named(
    sensor: Sensor, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    serve({})
    sensor.has(YELLOW, Month(2011, 1), f"{sensor.base}{at_tlc(YELLOW, Month(2011, 1))}", '"v1"')
    _, skipped = sensor.tick()
    # in turn are the 24 months before it
    assert skipped.startswith(
        "29 months asked, 5 of them not published yet, 24 missing before a later one, none new"
    )
    assert "yellow 2010-08 and 4 more.\n" in capsys.readouterr().err


def test_a_later_month_that_others_put_there_says_nothing_of_the_publisher(
    sensor: Sensor, serve: Serve
) -> None:
    serve({})
    sensor.put(YELLOW, NEWEST, {"by": "hand"})
    assert sensor.tick()[1].startswith("28 months asked, 28 of them not published yet, none new")


def months_then() -> list[tuple[Service, Month]]:
    return [
        (service, Month.parse(key))
        for service in (YELLOW, GREEN)
        for key in months_at(THEN, service)
    ]


def everywhere(answer: Answer, *services: Service) -> dict[str, list[Answer]]:
    """Return what the mirror answers for every month of the services, or of all."""
    return {
        in_mirror(service, month): [answer]
        for service, month in months_then()
        if service in (services or (YELLOW, GREEN))
    }


def test_the_answers_are_kept_where_the_message_could_not_be_sent(
    sensor: Sensor, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    # the first in turn is answered
    serve(everywhere(status(503)) | {in_mirror(YELLOW, Month(2009, 1)): [body(b"x", '"v1"')]})
    with receiving(500) as (sensor.notify, _):
        pass
    assert keys(sensor.tick()[0]) == ['yellow/2009-01/"v1"/0']
    assert "TAXI_NOTIFY_URL" in capsys.readouterr().err
    with receiving() as (sensor.notify, told):
        sensor.tick()
        sensor.tick()
    assert len(told) == 1


def test_a_publisher_that_takes_too_long_ends_the_asking_and_not_the_tick(
    sensor: Sensor, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = Event()

    def late(request: BaseHTTPRequestHandler) -> None:
        assert released.wait(60)
        status(404)(request)

    monkeypatch.setattr(publisher_sensor, "SECONDS", 1)
    serve({in_mirror(GREEN, NEWEST): [late]})
    _, skipped = sensor.tick()
    released.set()
    assert re.search(r"could not be asked: \d of 29 months were answered within 1 s\.", skipped)
    # the first in turn was asked for, and then a month of green
    unpublished = (
        '"unpublished":["green/2013-08","yellow/2013-07"]'  # the others were not asked for
    )
    assert sensor.cursor == f'{{"after":"yellow/2009-01","unreachable":true,{unpublished}}}'


def test_a_month_that_is_refused_is_named_and_keeps_no_other_waiting(
    sensor: Sensor, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    refused, fine = in_mirror(YELLOW, NEWEST), in_mirror(GREEN, NEWEST)
    serve({refused: [status(410)], fine: [body(b"x", '"v1"')]})
    assert keys(sensor.tick()[0]) == ['green/2013-09/"v1"/0']
    assert f"{refused} answered 410" in capsys.readouterr().err


def test_a_setting_that_is_wrong_fails_the_tick(sensor: Sensor) -> None:
    sensor.base = "ftp://nowhere"
    with pytest.raises(PermanentError, match="TAXI_PUBLISHER_URLS: 'ftp://nowhere"):
        sensor.tick()


def test_the_requests_of_a_tick_are_bounded_whatever_the_lake_has(
    sensor: Sensor, serve: Serve
) -> None:
    sensor.at = datetime(2026, 11, 22, tzinfo=UTC)
    months = [
        (service, Month.parse(key))
        for service in SERVICES.values()
        for key in months_at(sensor.at, service)
    ]
    assert len(months) > 500
    changed = Month(2026, 9)
    asked = serve(
        {
            at_tlc(*month): [body(b"x", '"v2"' if month == (YELLOW, changed) else '"v1"')]
            for month in months
        }
    )
    for service, month in months:
        sensor.has(service, month, sensor.base + at_tlc(service, month), '"v1"')
    for _ in range(2):
        asked.clear()
        requests, _ = sensor.tick()
        assert [(request.job_name, request.partition_key) for request in requests] == [
            ("yellow_trips", "2026-09")
        ]
        # each month at the mirror, which does not have it, and at TLC
        assert len(asked) == 2 * (RECENT * len(SERVICES) + IN_TURN)


def test_a_requested_run_leaves_nothing_to_request_until_the_file_is_rewritten(
    platform: Platform, sensor: Sensor
) -> None:
    path, row = in_mirror(YELLOW, NEWEST), trip().replace("2021-01", NEWEST.key)
    answers: dict[str, list[Answer]] = {}
    sensor.lake, sensor.instance = platform.resources.lake, platform.instance
    with serving(answers) as (sensor.base, _):
        its = with_publisher(platform, sensor.base)
        for etag, rows in (('"v1"', [row]), ('"v2"', [row, row])):
            file = "\r\n".join((YELLOW_HEADER, *rows, "")).encode()
            answers[path] = [body(gzip.compress(file, mtime=0), etag)]
            (request,), _ = sensor.tick()
            assert request.job_name is not None
            assert its.run(request.job_name, request.partition_key).success
            assert its.entry("yellow", NEWEST.key).lake.published == len(rows)
            assert sensor.tick()[0] == []


def test_the_sensor_runs_from_the_start_only_where_automation_is_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TAXI_PUBLISHED_EVERY_SECONDS", "60")
    for setting, running in (
        ("on", dg.DefaultSensorStatus.RUNNING),
        ("off", dg.DefaultSensorStatus.STOPPED),
    ):
        monkeypatch.setenv("TAXI_AUTOMATION", setting)
        found = build_definitions().resolve_sensor_def("published_months")
        assert found.default_status == running
        assert found.minimum_interval_seconds == 60
