"""The views' assets, made by one factory: a view in each store that keeps views.

A view has no rows of its own, so it is made once, and again where a release declares another. What
it shows is for `taxi_pipeline.marts` to say.
"""

from collections.abc import Sequence
from hashlib import sha256

import dagster as dg

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.reporting import (
    OWNERS,
    RETRIES,
    column_lineage,
    retried_if_transient,
    table_columns,
    table_name,
)
from taxi_pipeline.marts import View
from taxi_pipeline.sink import Sink

# A table that it reads is there for the first time, or the view is declared otherwise.
_LACKING = (
    dg.AutomationCondition.missing()
    & dg.AutomationCondition.any_deps_match(~dg.AutomationCondition.missing())
).newly_true()
# One that failed is asked for again with the next month of a table.
_FAILED = (
    dg.AutomationCondition.missing() | dg.AutomationCondition.execution_failed()
) & dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated())
_DUE = (_LACKING | _FAILED | dg.AutomationCondition.code_version_changed()).since(
    dg.AutomationCondition.newly_requested()
) & ~dg.AutomationCondition.in_progress()


def view_assets(view: View, sinks: Sequence[type[Sink]]) -> list[dg.AssetsDefinition]:
    """Return the assets of a view: one for each sink that keeps views."""
    return [_view_asset(view, sink) for sink in sinks if sink.keeps_views]


def _view_asset(view: View, sink: type[Sink]) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(view.name, sink.name),
        deps=[asset_key(source.name, sink.name) for source in view.sources],
        code_version=sha256(repr(view).encode()).hexdigest()[:12],
        automation_condition=_DUE,
        group_name="marts",
        kinds={sink.name, "view"},
        owners=OWNERS,
        tags={"layer": sink.name},
        pool=sink.pool,
        required_resource_keys={sink.name},
        retry_policy=RETRIES,
        metadata={
            "dagster/storage_kind": sink.name,
            "dagster/column_schema": table_columns(view.table),
            **table_name(sink, view.table),
        },
        description=view.table.description,
    )
    def defined(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        with retried_if_transient(context):
            store: Sink = getattr(context.resources, sink.name)
            store.replace_view(view)
            return dg.MaterializeResult(
                metadata={
                    "dagster/storage_kind": sink.name,
                    "dagster/table_name": store.sql_name(view.table).strip("`"),
                    "dagster/column_schema": table_columns(view.table),
                    "dagster/column_lineage": column_lineage(view.origins, sink.name),
                    "dagster/uri": store.uri(view.table),
                }
            )

    return defined
