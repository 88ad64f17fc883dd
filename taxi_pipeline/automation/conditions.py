"""The sensor that asks for what the assets' own automation conditions say is due.

When an asset is due is said beside the asset.
"""

import dagster as dg

from taxi_pipeline.automation.priorities import FRESH
from taxi_pipeline.settings import automation_is_on


def automation_condition_sensor() -> dg.AutomationConditionSensorDefinition:
    """Return the sensor of all assets; it takes the place of the one that Dagster would add."""
    return dg.AutomationConditionSensorDefinition(
        "default_automation_condition_sensor",
        target=dg.AssetSelection.all(),
        run_tags=FRESH,
        default_status=dg.DefaultSensorStatus.RUNNING
        if automation_is_on()
        else dg.DefaultSensorStatus.STOPPED,
    )
