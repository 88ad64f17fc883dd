import dagster as dg
import pytest

from taxi_pipeline.definitions import build_definitions

NAME = "default_automation_condition_sensor"


@pytest.mark.parametrize(
    ("switch", "status"),
    [("on", dg.DefaultSensorStatus.RUNNING), ("off", dg.DefaultSensorStatus.STOPPED)],
)
def test_one_sensor_asks_for_what_is_due_where_automation_is_on(
    monkeypatch: pytest.MonkeyPatch, switch: str, status: dg.DefaultSensorStatus
) -> None:
    monkeypatch.setenv("TAXI_AUTOMATION", switch)
    definitions = build_definitions()
    sensor = definitions.resolve_sensor_def(NAME)
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.default_status == status
    assert int(sensor.run_tags["dagster/priority"]) > 0  # before what a person launches
    graph = definitions.resolve_asset_graph()
    assert sensor.asset_selection.resolve(graph) == graph.get_all_asset_keys()
