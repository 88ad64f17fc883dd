"""Runs of Dagster as events of OpenLineage, with the names by which others know the tables.

A run is a job's run, and each asset that it made is a run of a job of the asset's name, whose
parent it is. This module imports OpenLineage's client, so it is imported where OPENLINEAGE_URL is
set. When events are sent, and where to, is for `lineage` to say.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from openlineage.client.event_v2 import (
    InputDataset,
    Job,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
    set_producer,
)
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    error_message_run,
    job_type_job,
    nominal_time_run,
    output_statistics_output_dataset,
    parent_run,
    schema_dataset,
)
from openlineage.client.uuid import generate_static_uuid

from taxi_pipeline.automation.notifications import errors_of
from taxi_pipeline.settings import lineage_namespace
from taxi_pipeline.tlc.month import Month

_PRODUCER = "urn:taxi-pipeline"
_STATES = {
    dg.DagsterRunStatus.SUCCESS: RunState.COMPLETE,
    dg.DagsterRunStatus.FAILURE: RunState.FAIL,
    dg.DagsterRunStatus.CANCELED: RunState.ABORT,
}

type _Columns = dict[str, column_lineage_dataset.Fields]

set_producer(_PRODUCER)


@dataclass(frozen=True)
class _Name:
    """A dataset's name in the form of OpenLineage's naming conventions."""

    namespace: str
    name: str

    @classmethod
    def of_uri(cls, uri: str) -> "_Name | None":
        """Return the name of what `dagster/uri` of our assets says; None for anything else.

        Of an object in the lake that is its folder, which all months of a service share.
        """
        parts = urlsplit(uri)
        path = parts.path.strip("/")
        match parts.scheme:
            case "gs":
                return cls(f"gs://{parts.netloc}", path.rpartition("/")[0])
            case "bigquery":
                return cls("bigquery", parts.netloc)
            case "postgresql":
                return cls(f"postgres://{parts.netloc}", path.replace("/", "."))
            case "http" | "https":
                return cls(f"{parts.scheme}://{parts.netloc}", path)
        return None

    def column(self, name: str) -> column_lineage_dataset.InputField:
        """Return a column of the dataset as an origin of another."""
        return column_lineage_dataset.InputField(self.namespace, self.name, name)


def events_of(instance: dg.DagsterInstance, graph: Any, record: dg.RunRecord) -> Iterator[RunEvent]:
    """Yield the events of a run that has ended, the first of them its start.

    Args:
        instance: The instance that has the run.
        graph: The asset graph of the code location.
        record: The run.
    """
    yield from _EndedRun(instance, graph, record).events()


@dataclass(frozen=True)
class _EndedRun:
    instance: dg.DagsterInstance
    graph: Any  # Dagster's AssetGraph has no public name
    record: dg.RunRecord

    def events(self) -> Iterator[RunEvent]:
        run = self.record.dagster_run
        began, ended = self.began, self.record.end_time or self.began
        job = _job(run.job_name, "JOB")
        facets = self._nominal_time()
        yield _event(RunState.START, began, Run(run.run_id, facets), job)
        materializations = self.instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        for made in materializations.records:
            if made.asset_materialization:
                yield from self._events_of_asset(made.asset_materialization, made.timestamp)
        if run.status == dg.DagsterRunStatus.FAILURE:
            errors = "\n".join(errors_of(self.instance, run))
            facets = {
                **facets,
                "errorMessage": error_message_run.ErrorMessageRunFacet(errors, "python"),
            }
        yield _event(_STATES[run.status], ended, Run(run.run_id, facets), job)

    @cached_property
    def began(self) -> float:
        """When the run began, or was asked for if it never did."""
        return self.record.start_time or self.record.create_timestamp.timestamp()

    def _events_of_asset(
        self, made: dg.AssetMaterialization, timestamp: float
    ) -> Iterator[RunEvent]:
        """Yield start and end of the making of an asset; one that nobody can name has none."""
        output = _name_of(made)
        if output is None:
            return
        origins = self._origins(made)
        name, parent = made.asset_key.to_user_string(), self.record.dagster_run
        instant = datetime.fromtimestamp(self.began, UTC)
        run = Run(
            str(generate_static_uuid(instant, f"{parent.run_id}/{name}".encode())),
            {
                **self._nominal_time(),
                "parent": parent_run.ParentRunFacet(
                    parent_run.Run(parent.run_id),
                    parent_run.Job(lineage_namespace(), parent.job_name),
                ),
            },
        )
        inputs = [
            InputDataset(origin.namespace, origin.name)
            for origin in dict.fromkeys(origins.values())
        ]
        dataset = OutputDataset(
            output.namespace,
            output.name,
            facets=_facets(made, origins),
            outputFacets=_statistics(made.metadata),
        )
        match made.metadata.get("seconds"):
            case dg.FloatMetadataValue(value=float(seconds)):
                start = timestamp - seconds
            case _:
                start = timestamp
        for state, time in ((RunState.START, start), (RunState.COMPLETE, timestamp)):
            yield _event(state, time, run, _job(name, "ASSET"), inputs, [dataset])

    def _origins(self, made: dg.AssetMaterialization) -> Mapping[dg.AssetKey, _Name]:
        """Return the names of what the asset was made of, by asset.

        One that has not the month has none. The published file is an origin of its own asset.
        """
        parents = self.graph.get(made.asset_key).parent_keys if self._knows(made.asset_key) else ()
        origins = {key: self._latest(key) for key in sorted(parents)}
        if not parents and (source := made.metadata.get("source")):
            origins[made.asset_key] = _Name.of_uri(str(source.value))
        return {key: name for key, name in origins.items() if name}

    def _latest(self, key: dg.AssetKey) -> _Name | None:
        """Return the name of what was made last of an asset, of the run's month if it has any."""
        month = self._month
        has_months = self._knows(key) and self.graph.get(key).is_partitioned
        wanted = dg.AssetRecordsFilter(key, [month] if month and has_months else None)
        records = self.instance.fetch_materializations(wanted, limit=1).records
        made = records[0].asset_materialization if records else None
        return _name_of(made) if made else None

    def _knows(self, key: dg.AssetKey) -> bool:
        return bool(self.graph.has(key))

    @property
    def _month(self) -> str | None:
        return self.record.dagster_run.tags.get("dagster/partition")

    def _nominal_time(self) -> dict[str, Any]:
        if not self._month or not Month.is_key(self._month):
            return {}
        month = Month.parse(self._month)
        start, end = (f"{day.isoformat()}Z" for day in (month.start, month.end))
        return {"nominalTime": nominal_time_run.NominalTimeRunFacet(start, end)}


def _event(
    state: RunState,
    timestamp: float,
    run: Run,
    job: Job,
    inputs: list[InputDataset] | None = None,
    outputs: list[OutputDataset] | None = None,
) -> RunEvent:
    return RunEvent(
        eventTime=datetime.fromtimestamp(timestamp, UTC).isoformat(),
        eventType=state,
        run=run,
        job=job,
        inputs=inputs or [],
        outputs=outputs or [],
        producer=_PRODUCER,
    )


def _job(name: str, kind: str) -> Job:
    facet = job_type_job.JobTypeJobFacet("BATCH", "DAGSTER", jobType=kind)
    return Job(lineage_namespace(), name, {"jobType": facet})


def _name_of(made: dg.AssetMaterialization) -> _Name | None:
    uri = made.metadata.get("dagster/uri")
    return _Name.of_uri(str(uri.value)) if uri else None


def _facets(made: dg.AssetMaterialization, origins: Mapping[dg.AssetKey, _Name]) -> dict[str, Any]:
    """Return the facets of what was made: its columns, and what each was made of."""
    facets: dict[str, Any] = {}
    columns: list[dg.TableColumn] = []
    match made.metadata.get("dagster/column_schema"):
        case dg.TableSchemaMetadataValue(schema=schema):
            columns = [*schema.columns]
            facets["schema"] = schema_dataset.SchemaDatasetFacet(
                [
                    schema_dataset.SchemaDatasetFacetFields(
                        column.name, column.type, column.description
                    )
                    for column in columns
                ]
            )
    deps: Mapping[str, list[dg.TableColumnDep]] = {}
    match made.metadata.get("dagster/column_lineage"):
        case dg.TableColumnLineageMetadataValue(column_lineage=lineage):
            deps = {name: [*of_column] for name, of_column in lineage.deps_by_column.items()}
        case _ if made.asset_key in origins:  # byte for byte the published file
            deps = {c.name: [dg.TableColumnDep(made.asset_key, c.name)] for c in columns}
    if fields := _origins_of_columns(deps, origins):
        facets["columnLineage"] = column_lineage_dataset.ColumnLineageDatasetFacet(fields)
    return facets


def _origins_of_columns(
    deps: Mapping[str, list[dg.TableColumnDep]], origins: Mapping[dg.AssetKey, _Name]
) -> _Columns:
    fields = {
        column: [
            origins[dep.asset_key].column(dep.column_name)
            for dep in of_column
            if dep.asset_key in origins
        ]
        for column, of_column in deps.items()
    }
    return {
        column: column_lineage_dataset.Fields(inputFields=origins)
        for column, origins in fields.items()
        if origins
    }


def _statistics(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, Any]:
    """Return how many rows were made, and how many bytes, where the asset says it."""
    names = ("dagster/partition_row_count", "dagster/row_count")
    rows = next(filter(None, map(metadata.get, names)), None)
    size = metadata.get("bytes")
    if rows is None:
        return {}
    facet = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=int(rows.value), size=int(size.value) if size else None
    )
    return {"outputStatistics": facet}
