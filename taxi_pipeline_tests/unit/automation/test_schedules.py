import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise, takewhile
from unittest.mock import patch
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.definitions import build_definitions, defs
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHVHV, SERVICES, YELLOW, Service

NEW_YORK = ZoneInfo("America/New_York")


def schedule_of(definitions: dg.Definitions, service: Service) -> dg.ScheduleDefinition:
    found = definitions.resolve_schedule_def(f"{service.name}_newest_month")
    assert isinstance(found, dg.ScheduleDefinition)
    return found


def ticks(schedule: dg.ScheduleDefinition, year: int) -> Iterator[datetime]:
    """Yield the times of a year at which Dagster evaluates the schedule."""
    assert isinstance(schedule.cron_schedule, str)
    begin = datetime(year, 1, 1, tzinfo=NEW_YORK).timestamp()
    times = schedule_execution_time_iterator(
        begin, schedule.cron_schedule, schedule.execution_timezone
    )
    return takewhile(lambda time: time.year == year, times)


def requested(
    definitions: dg.Definitions, schedule: dg.ScheduleDefinition, time: datetime
) -> dg.RunRequest:
    """Evaluate a tick; Dagster refuses a partition that does not exist at its time."""
    repository = definitions.get_repository_def()
    context = dg.build_schedule_context(scheduled_execution_time=time, repository_def=repository)
    (request,) = schedule.evaluate_tick(context).run_requests or ()
    return request


@cache
def with_cron(cron: str) -> dg.Definitions:
    with patch.dict(os.environ, TAXI_SCHEDULE=cron):
        return build_definitions()


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_a_service_has_one_schedule_for_its_own_job(service: Service) -> None:
    schedule = schedule_of(defs, service)
    assert schedule.job.name == service.trips.name
    assert schedule.execution_timezone == "America/New_York"
    assert schedule.tags == {"service": service.name}
    assert service.name in (schedule.description or "")


def test_the_default_is_the_25th_at_6_in_new_york_all_year() -> None:
    schedule = schedule_of(with_cron(""), YELLOW)
    assert list(ticks(schedule, 2027)) == [
        datetime(2027, month, 25, 6, tzinfo=NEW_YORK) for month in range(1, 13)
    ]


@pytest.mark.parametrize("service", [YELLOW, FHVHV], ids=lambda service: service.name)
@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("", 12),
        ("0 0 1 * *", 12),  # the instant at which another month becomes the newest
        ("59 23 L * *", 12),  # when it is the next month in UTC already
        ("0 6 29 * *", 12),
        ("30 2 * * *", 366),  # there is no 2:30 on 12 March and there are two on 5 November
        ("30 1 * * *", 366),
    ],
)
def test_each_tick_of_a_leap_year_requests_the_newest_month_that_exists_then(
    service: Service, cron: str, expected: int
) -> None:
    definitions = with_cron(cron)
    schedule, months = schedule_of(definitions, service), months_of(service)
    keys: list[str] = []
    for time in ticks(schedule, 2028):
        request = requested(definitions, schedule, time)
        key = request.partition_key
        assert key is not None
        assert request.run_key == request.tags["dagster/partition"] == key
        assert request.tags["service"] == service.name
        assert int(request.tags["dagster/priority"]) > 0  # before what a person launches
        with dg.partition_loading_context(time):
            assert months.get_last_partition_key() == key
            assert not months.has_partition_key(Month.parse(key).next.key)
        # two months before the tick's, as counted in New York
        assert Month.parse(key).next.next == Month(time.year, time.month)
        keys.append(key)
    assert len(keys) == expected
    months_of_the_year = [f"2028-{month:02}" for month in range(1, 11)]
    assert list(dict.fromkeys(keys)) == ["2027-11", "2027-12", *months_of_the_year]


def test_a_leap_day_and_both_changes_of_the_clock_have_their_tick() -> None:
    leap = schedule_of(with_cron("0 6 29 * *"), YELLOW)
    assert datetime(2028, 2, 29, 6, tzinfo=NEW_YORK) in list(ticks(leap, 2028))
    daily = list(ticks(schedule_of(with_cron("30 2 * * *"), YELLOW), 2028))
    assert all(earlier < later for earlier, later in pairwise(daily))
    spring = [time for time in daily if (time.month, time.day) == (3, 12)]
    assert [time.isoformat() for time in spring] == ["2028-03-12T03:00:00-04:00"]
    autumn = list(ticks(schedule_of(with_cron("30 1 * * *"), YELLOW), 2028))
    twice = [time for time in autumn if (time.month, time.day) == (11, 5)]
    assert [time.isoformat() for time in twice] == ["2028-11-05T01:30:00-05:00"]


def test_the_scheduled_time_counts_and_not_when_or_where_it_is_evaluated() -> None:
    schedule = schedule_of(defs, YELLOW)
    at_midnight = datetime(2030, 1, 1, tzinfo=NEW_YORK).astimezone(UTC)
    assert requested(defs, schedule, at_midnight).partition_key == "2029-11"
    before = at_midnight - timedelta(seconds=1)
    assert requested(defs, schedule, before).partition_key == "2029-10"


def test_schedules_run_from_the_start_only_where_automation_is_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for setting, status in (
        ("on", dg.DefaultScheduleStatus.RUNNING),
        ("", dg.DefaultScheduleStatus.STOPPED),
    ):
        monkeypatch.setenv("TAXI_AUTOMATION", setting)
        definitions = build_definitions()
        for service in SERVICES.values():
            assert schedule_of(definitions, service).default_status == status


@pytest.mark.parametrize(
    "cron", ["monthly", "0 6 25 * * *", "0 6 32 * *", "6 25 * *", "0 6 30 2 *"]
)
def test_what_is_no_cron_names_its_variable(cron: str) -> None:
    with pytest.raises(PermanentError) as caught:
        with_cron(cron)
    assert str(caught.value).startswith(f"TAXI_SCHEDULE: '{cron}' is not a cron schedule: write ")
