"""BigQuery's stand-in: the `local_bigquery` emulator, taught to write single partitions.

It lives in `local/` and is no part of production, which talks to BigQuery itself. It answers
BigQuery's REST API on an address, reads `gs://` objects from the folder of the GCS emulator beside
it and keeps all it stores in its data directory.

Only what the emulator gets wrong belongs here. It takes `trips$202101` for a table of its own;
BigQuery takes it for a partition of `trips`: a load job's or a query's rows replace just that one,
rows of others are refused, and what is listed of it are its rows.
A Parquet file may lack columns of a load job's schema: in BigQuery they are null in the table.
Its ST_GEOGFROMTEXT takes a text alone.
Two that create the same table at once collide in its catalog, or find it half made; in BigQuery one
is told that it exists. It lists all tables to learn of one, and keeps them where every look takes
long. And it leaves a job that it died in the middle of running forever, so that nobody can retry
it. What it does again for each query, and need not, is in `bigquery_queries` and
`bigquery_records`.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Reference = tuple[str, str, str]

# How BigQuery writes a partition's id, by the type of the table's partitioning.
PARTITION_IDS = {"HOUR": "%Y%m%d%H", "DAY": "%Y%m%d", "MONTH": "%Y%m", "YEAR": "%Y"}


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Run the BigQuery emulator.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--gcs-root", type=Path, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--project", required=True)
    args = parser.parse_args()
    _install_extensions(args.data_dir.resolve())

    import uvicorn
    from local_bigquery import app
    from local_bigquery.engine import database
    from local_bigquery.settings import settings

    from taxi_pipeline.local import bigquery_catalog, bigquery_queries, bigquery_records

    settings.data_dir = args.data_dir.resolve()
    settings.gcs_local_root = args.gcs_root.resolve()
    settings.default_project_id = args.project
    _teach_partition_decorators()
    _teach_missing_columns()
    bigquery_catalog.install()
    bigquery_queries.install()
    bigquery_records.install()
    _teach_valid_geographies()
    # The cache goes by whole seconds: of a file just overwritten it gives the old rows.
    database.execute("SET GLOBAL enable_external_file_cache = false")
    # A month here is small: to share its work out among threads costs more than it saves.
    database.execute("SET GLOBAL threads = 1")
    _fail_interrupted_jobs(args.project)
    for signum in (signal.SIGTERM, signal.SIGINT):
        # The server shuts down first and then raises the signal again, for this handler.
        signal.signal(signum, lambda *_: sys.exit())
    uvicorn.run(
        app,
        host=args.host,
        port=args.port,
        log_level="warning",
        timeout_graceful_shutdown=5,
        # or a client may take up a connection in the moment in which it is closed
        timeout_keep_alive=3600,
    )


def _install_extensions(home: Path) -> None:
    """Let DuckDB find its extensions, which lie in wheels, as it would else download them."""
    import duckdb

    # DuckDB keeps its extensions in the home directory; the user's own stays clean.
    os.environ["HOME"] = str(home)
    version = f"v{duckdb.__version__}"
    with duckdb.connect() as connection:
        ((platform,),) = connection.execute("PRAGMA platform").fetchall()
    installed = home / ".duckdb" / "extensions" / version / platform
    installed.mkdir(parents=True, exist_ok=True)
    for name in ("ducklake", "icu", "spatial"):
        file = f"{name}.duckdb_extension"
        link = installed / file
        link.unlink(missing_ok=True)  # the environment of its target may be gone
        # to copy them takes a second and 137 MB
        link.symlink_to(str(files(f"duckdb_extension_{name}") / "extensions" / version / file))


def _fail_interrupted_jobs(project: str) -> None:
    from local_bigquery.jobs import store

    error = {"reason": "backendError", "message": "The emulator stopped while the job was running"}
    for job in store.list_(project, ["PENDING", "RUNNING"]):
        store.save(job.replace(status={"state": "DONE", "errorResult": error, "errors": [error]}))


def _teach_partition_decorators() -> None:
    """Wrap the functions through which a job meets the name of its destination."""
    from local_bigquery.catalog import tabledata, tables

    write_table, table_columns, table_name = tables.write, tables.columns, tables.name
    load_table = tables.load

    def write(
        cursor: "DuckDBPyConnection",
        query: str,
        params: Any,
        reference: Reference,
        config: Any,
        default: str = "WRITE_EMPTY",
        *args: Any,
        **kwargs: Any,
    ) -> bool:
        if "$" not in reference[2]:
            created: bool = write_table(
                cursor, query, params, reference, config, default, *args, **kwargs
            )
            return created
        _write_partition(cursor, query, params, reference, config, default)
        return False

    def columns(project: str, dataset: str, table: str) -> Any:
        return table_columns(project, dataset, table.partition("$")[0])

    def load(project: str, dataset: str, table: str) -> Any:
        return load_table(project, dataset, table.partition("$")[0])

    def name(project: str, dataset: str, table: str) -> str:
        """Give what follows FROM: the table, of a partition with the condition for its rows."""
        if "$" not in table:
            named: str = table_name(project, dataset, table)
            return named
        base = (project, dataset, table.partition("$")[0])
        return f"{table_name(*base)} WHERE {_partition(base, table)}"

    tables.write, tables.columns = write, columns
    # these functions list a table's rows
    tabledata.columns, tabledata.load, tabledata.name = columns, load, name


def _teach_missing_columns() -> None:
    """Wrap the function that says what a load job selects from: Parquet gets all columns."""
    from local_bigquery.engine.database import quote
    from local_bigquery.jobs import load

    read = load._reader

    def reader(cursor: "DuckDBPyConnection", paths: str, config: Any, fields: Sequence[Any]) -> str:
        source: str = read(cursor, paths, config, fields)
        if config.sourceFormat != "PARQUET":
            return source
        columns = cursor.sql(f"SELECT * FROM {source} LIMIT 0").columns  # noqa: S608 - the emulator's
        present = {column.casefold() for column in columns}
        missing = [field.name for field in fields if field.name.casefold() not in present]
        nulls = "".join(f", NULL AS {quote(name)}" for name in missing)
        return f"(SELECT *{nulls} FROM {source})"  # noqa: S608 - the emulator's

    load._reader = reader


def _teach_valid_geographies() -> None:
    """Let ST_GEOGFROMTEXT take `make_valid`, as BigQuery's does."""
    from local_bigquery.engine import database

    database.execute("""
        CREATE OR REPLACE MACRO bq.main.st_geogfromtext(wkt, make_valid := false) AS CASE
            WHEN wkt IS NOT NULL AND TRY(system.main.ST_GeomFromText(wkt)) IS NULL
                THEN _raise('ST_GeogFromText failed: Invalid WKT: ' || wkt)
            WHEN make_valid THEN system.main.ST_MakeValid(system.main.ST_GeomFromText(wkt))
            ELSE system.main.ST_GeomFromText(wkt)
        END""")


def _write_partition(
    cursor: "DuckDBPyConnection",
    query: str,
    params: Any,
    reference: Reference,
    config: Any,
    default_disposition: str,
) -> None:
    """Write the query's rows to the partition that `reference` names: all of them or none."""
    from local_bigquery.catalog import names, tables
    from local_bigquery.engine import database, results
    from local_bigquery.errors import BigQueryError, already_exists, not_implemented
    from local_bigquery.models import JobConfigurationTableCopy

    if isinstance(config, JobConfigurationTableCopy):
        raise not_implemented("Copying to a partition")
    project, dataset, decorated = reference
    base = (project, dataset, decorated.partition("$")[0])
    condition = _partition(base, decorated)
    _check_schema(cursor, query, params, base, config)
    outside = f"SELECT 1 FROM ({query}) WHERE ({condition}) IS NOT TRUE LIMIT 1"  # noqa: S608
    if cursor.execute(outside, params).fetchone():
        raise BigQueryError(
            "invalid",
            "Some rows belong to different partitions rather than destination partition "
            f"{decorated}",
        )
    target = tables.name(*base)
    present = f"FROM {target} WHERE {condition}"
    disposition = config.writeDisposition or default_disposition
    with database.writing(*base):
        cursor.begin()
        try:
            if disposition == "WRITE_TRUNCATE":
                cursor.execute(f"DELETE {present}")
            elif disposition == "WRITE_EMPTY" and cursor.execute(f"{present} LIMIT 1").fetchone():
                raise already_exists("Table", names.label(*reference))
            results.materialise(cursor, query, target, params, append=True)
        except BaseException:
            cursor.rollback()
            raise
        cursor.commit()


def _partition(base: Reference, decorated: str) -> str:
    """Give the SQL condition that a row is inside of the partition."""
    from local_bigquery.catalog import names, tables
    from local_bigquery.engine.database import quote
    from local_bigquery.errors import BigQueryError

    label, partition_id = names.label(*base[:2], decorated), decorated.partition("$")[2]
    partitioning = tables.load(*base).timePartitioning
    if not partitioning:
        raise BigQueryError(
            "invalid",
            f"Cannot add storage to a non-partitioned table with a partition reference: {label}",
        )
    form = PARTITION_IDS[partitioning.type]
    start: datetime | None = None
    with suppress(ValueError):
        start = datetime.strptime(partition_id, form)  # noqa: DTZ007 - a DATETIME has no zone
    # Parsing alone would take 20211 for January.
    if start is None or start.strftime(form) != partition_id:
        raise BigQueryError(
            "invalid",
            f"Invalid partition id '{partition_id}' in {label}: the table is partitioned by "
            f"{partitioning.type}",
        )
    column = quote(partitioning.field)
    first = f"TIMESTAMP '{start}'"
    return f"{column} >= {first} AND {column} < {first} + INTERVAL 1 {partitioning.type}"


def _check_schema(
    cursor: "DuckDBPyConnection", query: str, params: Any, base: Reference, config: Any
) -> None:
    """Refuse fields that the table lacks or has as another type."""
    from local_bigquery.catalog import names, tables
    from local_bigquery.engine import types
    from local_bigquery.errors import BigQueryError
    from local_bigquery.jobs import storage
    from local_bigquery.models import JobConfigurationLoad

    relations = [cursor.sql(query, params=params)]
    if (
        isinstance(config, JobConfigurationLoad)
        and config.sourceFormat == "PARQUET"
        and config.sourceUris
        and not config.ignoreUnknownValues
    ):
        # The query leaves out the file's fields that the job's schema does not name.
        paths = [path for uri in config.sourceUris for path in storage.paths(cursor, uri)]
        relations.insert(0, cursor.read_parquet(paths))
    offered = {
        name.casefold(): types.field(name, kind)
        for relation in relations
        for name, kind in zip(relation.columns, relation.types, strict=True)
    }
    existing = {field.name.casefold(): field.type for field in tables.columns(*base)}
    for key, field in offered.items():
        if key not in existing:
            problem = f"Cannot add fields (field: {field.name})"
        elif field.type != existing[key]:
            problem = f"Field {field.name} has changed type from {existing[key]} to {field.type}"
        else:
            continue
        raise BigQueryError(
            "invalid", f"Provided Schema does not match Table {names.label(*base)}. {problem}"
        )


if __name__ == "__main__":
    main()
