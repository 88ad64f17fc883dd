"""The asset of the status page: one web page in the lake.

What the page says is `taxi_pipeline.status`'s; what Dagster knows of runs is given by a function,
which belongs to a floor above, as does when the page is written anew.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import dagster as dg

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.reporting import OWNERS, RETRIES, retried_if_transient
from taxi_pipeline.errors import TransientError
from taxi_pipeline.io.scratch import scratch
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.sink import Sink
from taxi_pipeline.status import Facts, Status, Totals, read_status
from taxi_pipeline.tlc.services import SERVICES

KEY = dg.AssetKey("status_page")
OBJECT = "status/index.html"


def status_page(
    sinks: Sequence[type[Sink]], read_facts: Callable[[dg.DagsterInstance], Facts]
) -> dg.AssetsDefinition:
    """Return the asset.

    Args:
        sinks: The stores that get each table.
        read_facts: Returns what an instance knows of the months.
    """
    tables = [
        asset_key(service.trips.name, sink.name) for service in SERVICES.values() for sink in sinks
    ]

    # not dg.asset, which would name the step as the job is named
    @dg.multi_asset(
        name=f"write_{KEY.path[-1]}",
        specs=[
            dg.AssetSpec(
                KEY,
                deps=tables,
                group_name="status",
                kinds={"gcs", "html"},
                owners=OWNERS,
                tags={"layer": "status"},
                metadata={"dagster/storage_kind": "gcs"},
                description="A web page of all months: which are as loaded, which are not, and "
                "what to do next.",
            )
        ],
        required_resource_keys={"lake", *(sink.name for sink in sinks)},
        retry_policy=RETRIES,
    )
    def write(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        with retried_if_transient(context):
            began = monotonic()
            lake: Lake = context.resources.lake
            stores: list[Sink] = [getattr(context.resources, sink.name) for sink in sinks]
            replaced = lake.generation_of(OBJECT)  # before reading: no older page takes its place
            status = read_status(lake, stores, read_facts(context.instance))
            if not status.is_complete:  # the page that is there says more
                raise TransientError(f"{', '.join(status.unasked)} could not be asked.")
            return _report(lake, status, _store(lake, status, replaced), monotonic() - began)

    return write


def _store(lake: Lake, status: Status, replaced: int) -> LakeObject:
    """Put the page into the lake, in place of the one of that generation."""
    from taxi_pipeline.status.page import to_html

    with scratch() as folder:
        path = folder / Path(OBJECT).name
        path.write_text(to_html(status), "utf-8")
        return lake.upload(path, OBJECT, {}, replaced)


def _report(
    lake: Lake, status: Status, stored: LakeObject, seconds: float
) -> dg.MaterializeResult[None]:
    totals = Totals.of(status.months)
    return dg.MaterializeResult(
        metadata={
            "dagster/uri": stored.uri,
            "page": dg.MetadataValue.url(lake.page(stored.name)),
            "link": dg.MetadataValue.url(lake.link(stored.name)),
            "bytes": stored.size,
            "seconds": round(seconds, 3),
            "months_due": totals.due,
            "months_as_loaded": totals.loaded,
            "states": {str(state): count for state, count in totals.states.items()},
            "kept": totals.kept,
            "rejected": totals.rejected.total(),
        }
    )
