"""Dagster's daemon, as far as it evaluates sensors: in this process, and only when asked."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.definitions.sensor_definition import SensorExecutionData


@dataclass
class Daemon:
    """Evaluates some sensors of a code location on an instance, and keeps their cursors."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    sensors: Sequence[str]
    cursors: dict[str, str | None] = field(default_factory=dict)

    def tick(self, *, just_started: bool = False) -> dict[str, SensorExecutionData]:
        """Evaluate the sensors; return what each said, by name."""
        repository = self.definitions.get_repository_def()
        said = {}
        for sensor in map(repository.get_sensor_def, self.sensors):
            resources = repository.get_top_level_resources()
            with dg.SensorEvaluationContext(
                instance_ref=None,
                instance=self.instance,
                cursor=self.cursors.get(sensor.name),
                last_tick_completion_time=1.0 if sensor.name in self.cursors else None,
                last_sensor_start_time=2.0 if just_started else None,
                repository_def=repository,
                sensor_name=sensor.name,
                resources={key: resources[key] for key in sensor.required_resource_keys},
            ) as context:
                said[sensor.name] = sensor.evaluate_tick(context)
            self.cursors[sensor.name] = said[sensor.name].cursor
        return said
