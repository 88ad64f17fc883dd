"""dbt's sources: the tables of a store, with their columns, tests and freshness, as `sources.yml`.

The keys are those of dbt 1.10.5 and later (https://docs.getdbt.com/reference/source-properties):
`config` has freshness and meta, and a test has `arguments`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from taxi_pipeline.assets.published import STALE_ERROR, STALE_WARNING
from taxi_pipeline.export.document import to_yaml
from taxi_pipeline.export.stores import StoredTable, stored_tables
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.bigquery.loads import LOADS
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.resources.postgres.statements import SCHEMA
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.month import PUBLICATION_LAG_MONTHS
from taxi_pipeline.tlc.services import Column

SOURCE = "tlc"

# When the newest month that a table has was due: so many months after its first day. Both ask the
# store what it has noted of its months, and read no trip.
_DUE_AFTER = 1 + PUBLICATION_LAG_MONTHS
_NEWEST_WAS_DUE = {
    BigQuery.name: f"""\
select timestamp(
  date_add(parse_date('%Y-%m', max(month)), interval {_DUE_AFTER} month), 'America/New_York'
)
from `{{{{ this.database }}}}`.`{{{{ this.schema }}}}`.{LOADS.name}
where table_name = '{{{{ this.identifier }}}}'
""",  # noqa: S608 - a declared name
    Postgres.name: f"""\
select (to_date(max(right(relname, 7)), 'YYYY_MM') + interval '{_DUE_AFTER} months')
  at time zone 'America/New_York'
from pg_inherits join pg_class on pg_class.oid = inhrelid
where inhparent = '{{{{ this }}}}'::regclass and relname ~ '_[0-9]{{4}}_[0-9]{{2}}$'
""",  # noqa: S608 - a number of ours
}


def dbt_sources(sink: type[Sink], place: Mapping[str, str | int]) -> str:
    """Return `sources.yml` for a store.

    Args:
        sink: The store.
        place: Where its tables lie, as `Sink.place` says it; empty where that is not set, and dbt
            reads it from the environment variables that set it here.
    """
    tables = [_table(sink, stored) for stored in stored_tables(sink)]
    source = {
        "name": SOURCE,
        "description": "New York's taxi trips by month, as TLC published and taxi_pipeline cleaned "
        f"them, in {sink.title}.",
        "loader": "taxi_pipeline",
        **_place(sink, place),
        "tables": tables,
    }
    command = f"taxi export dbt --store {sink.name}"
    return to_yaml({"version": 2, "sources": [source]}, command)


def _place(sink: type[Sink], place: Mapping[str, str | int]) -> dict[str, Any]:
    """Return the database and the schema, as dbt calls what BigQuery calls project and dataset."""
    if sink is Postgres:  # which reads no other database than the profile's
        return {"schema": SCHEMA}
    default = BigQuery.model_fields["dataset"].default
    return {
        "database": place.get("project", "{{ env_var('TAXI_GCP_PROJECT') }}"),
        "schema": place.get("dataset", f"{{{{ env_var('TAXI_DATASET', '{default}') }}}}"),
    }


def _table(sink: type[Sink], stored: StoredTable) -> dict[str, Any]:
    freshness = {
        "freshness": {"warn_after": _period(STALE_WARNING), "error_after": _period(STALE_ERROR)},
        "loaded_at_query": _NEWEST_WAS_DUE[sink.name],
    }
    return {
        "name": stored.table.name,
        "description": stored.table.description,
        "config": {
            **(freshness if stored.asset.freshness_policy else {}),
            # by which dagster-dbt knows the asset
            "meta": {"dagster": {"asset_key": list(stored.asset.key.path)}},
        },
        "columns": [_column(sink, column) for column in stored.table.columns],
    }


def _period(window: timedelta) -> dict[str, Any]:
    return {"count": window.days, "period": "day"}


def _column(sink: type[Sink], column: Column) -> dict[str, Any]:
    described = {
        "name": column.name,
        "description": column.description,
        "data_type": sink.types[column.type],
    }
    if not column.codes:
        return described
    codes = list(column.codes)
    # dbt writes the codes into SQL, as texts or as they are
    arguments = {"values": codes, "quote": any(isinstance(code, str) for code in codes)}
    # trips keep a code that is not declared
    test = {"accepted_values": {"arguments": arguments, "config": {"severity": "warn"}}}
    return {**described, "data_tests": [test]}
