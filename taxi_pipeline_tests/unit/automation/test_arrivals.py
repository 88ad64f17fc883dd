"""When the sensor runs; what it finds is tested on a real lake."""

import dagster as dg
import pytest

from taxi_pipeline.definitions import build_definitions
from taxi_pipeline.tlc.services import SERVICES, UNPARTITIONED


@pytest.mark.parametrize(
    ("automation", "status"),
    [("off", dg.DefaultSensorStatus.STOPPED), ("on", dg.DefaultSensorStatus.RUNNING)],
)
def test_the_lake_is_looked_at_every_minute_where_automation_is_on(
    monkeypatch: pytest.MonkeyPatch, automation: str, status: dg.DefaultSensorStatus
) -> None:
    monkeypatch.setenv("TAXI_AUTOMATION", automation)
    sensor = build_definitions().resolve_sensor_def("lake_arrivals")
    assert sensor.default_status is status
    assert sensor.minimum_interval_seconds == 60
    names = [target.job_name for target in sensor.targets]
    tables = (*(service.trips for service in SERVICES.values()), *UNPARTITIONED)
    assert names == [table.name for table in tables]
