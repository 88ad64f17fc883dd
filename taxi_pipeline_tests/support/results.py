"""What Dagster records of a run: its failure, its materializations and its checks.

Only reading an `ExecuteInProcessResult`, and the names of layers and checks, belong here.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from taxi_pipeline.assets.keys import layer_of
from taxi_pipeline.resources import SINKS
from taxi_pipeline.tlc.services import YELLOW, Service

type Evaluations = dict[tuple[str, str], dg.AssetCheckEvaluation]

SINK_LAYERS = tuple(sink.name for sink in SINKS)

# A month's checks, by layer and name.
EVERY_ROW = ("cleaned", "every_row_accounted_for")
AS_BEFORE = ("cleaned", "rows_as_before")
MATCHES = {(layer, "matches_lake") for layer in SINK_LAYERS}
CHECKS = {
    EVERY_ROW,
    AS_BEFORE,
    ("cleaned", "from_publisher"),
    ("cleaned", "rejected_share"),
    ("cleaned", "unknown_columns"),
    ("cleaned", "unknown_codes"),
    ("cleaned", "negative_fares"),
    *MATCHES,
}


def checks_of(service: Service) -> set[tuple[str, str]]:
    """Return the checks of a service's months, by layer and name: one without fares has fewer."""
    return CHECKS if service.total else CHECKS - {("cleaned", "negative_fares")}


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """Return the sentence that a run's one failed step ended with."""
    assert not result.success
    (event,) = result.get_step_failure_events()
    failure = event.step_failure_data
    assert failure.error is not None
    assert failure.user_failure_data is not None, failure.error.to_string()
    return failure.user_failure_data.description or ""


def metadata_by_layer(
    result: dg.ExecuteInProcessResult,
) -> dict[str, Mapping[str, dg.MetadataValue[Any]]]:
    """Return the metadata of each layer's materialization, by the layer's name."""
    assert result.success
    return {
        layer_of(event.asset_key): event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }


def evaluations(result: dg.ExecuteInProcessResult) -> Evaluations:
    """Return a run's evaluations of checks, by layer and name."""
    return {
        (layer_of(evaluation.asset_key), evaluation.check_name): evaluation
        for evaluation in result.get_asset_check_evaluations()
    }


def failed_checks(
    result: dg.ExecuteInProcessResult, service: Service = YELLOW
) -> set[tuple[str, str]]:
    """Return the checks of a service's month that did not pass; all of them must have run."""
    by_check = evaluations(result)
    assert by_check.keys() == checks_of(service)
    return {check for check, evaluation in by_check.items() if not evaluation.passed}
