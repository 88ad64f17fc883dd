"""Views in BigQuery: how a declared one is spelled there, and put in place of the one before.

So is the one in which a table's geometry is a GEOGRAPHY, beside that table.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.sql import words_of_codes
from taxi_pipeline.marts import View
from taxi_pipeline.resources.bigquery.cells import composed
from taxi_pipeline.resources.bigquery.jobs import Jobs
from taxi_pipeline.resources.bigquery.tables import DIALECT, TYPES
from taxi_pipeline.tlc.services import TEXT, Table

if TYPE_CHECKING:
    from google.cloud import bigquery


def replace_view(
    jobs: Jobs, view: View, view_id: str, names: dict[str, str], location: str | None
) -> None:
    """Make the view, or replace its definition where it is another.

    Args:
        jobs: The project's jobs.
        view: The view.
        view_id: Its full name, PROJECT.DATASET.VIEW.
        names: The names of its sources as a query writes them, by the tables' names.
        location: The dataset's location.

    Raises:
        PermanentError: Something else has the view's name.
    """
    from google.api_core.exceptions import NotFound

    query = _query_of(view, names)
    described = {column.name: column.description for column in view.table.columns}
    try:
        existing = jobs.client.get_table(view_id, **jobs.call_options)
    except NotFound as error:
        if "Table" not in str(error.message):
            raise
    else:
        if existing.table_type != "VIEW":
            raise PermanentError(
                f"BigQuery: `{view_id}` is there, but is not a view. Nothing was changed: rename "
                "it or drop it, and materialize the view again."
            )
        has = {field.name: field.description for field in existing.schema}
        if (existing.view_query, existing.description, has) == (
            query,
            view.table.description,
            described,
        ):
            return  # a view that is replaced loses what it was authorized for
    columns = ", ".join(f"`{name}` {_described(text)}" for name, text in described.items())
    statement = (
        f"CREATE OR REPLACE VIEW `{view_id}` ({columns}) {_described(view.table.description)} "
        f"AS {query}"
    )
    config = jobs.query_config({"table": view.name, "purpose": "view"})
    jobs.query(statement, config, location)


def ensure_geography_view(
    client: "bigquery.Client", table: Table, table_id: str, call_options: Mapping[str, Any]
) -> None:
    """Make the view in which a table's geometry is a GEOGRAPHY, if the table has a geometry.

    The table itself keeps the text: a GEOGRAPHY does not give back what it was made of, so nobody
    could compare it with the lake. Where edges that are straight on a map cross on the globe,
    BigQuery makes a valid GEOGRAPHY of it.

    Args:
        client: Google's client.
        table: The declared table.
        table_id: Its full name, PROJECT.DATASET.TABLE. The table is there.
        call_options: The timeout and retries of each call.

    Raises:
        PermanentError: There is something else of the view's name.
        TransientError: Another run changed the view at the same moment.
    """
    from google.api_core.exceptions import Conflict, NotFound, PreconditionFailed
    from google.cloud import bigquery

    geometry = next((column.name for column in table.columns if column.is_geometry), None)
    if geometry is None:
        return
    columns = ", ".join(f"`{column.name}`" for column in table.columns)
    wanted = bigquery.Table(f"{table_id}_geography")
    wanted.view_query = (
        f"SELECT {columns}, "  # noqa: S608 - declared names
        f"ST_GEOGFROMTEXT(`{geometry}`, make_valid => TRUE) AS geography FROM `{table_id}`"
    )
    wanted.description = f"{table.description} The geometry is a GEOGRAPHY here, too."
    try:
        existing = client.get_table(wanted.reference, **call_options)
    except NotFound:
        with suppress(Conflict):  # another run was faster
            client.create_table(wanted, **call_options)
        return
    if existing.table_type != "VIEW":
        raise PermanentError(
            f"BigQuery: `{wanted.reference}` is no view, where that of {table.name} with a "
            "GEOGRAPHY belongs. Nothing was changed: rename or drop it."
        )
    if (existing.view_query, existing.description) != (wanted.view_query, wanted.description):
        existing.view_query, existing.description = wanted.view_query, wanted.description
        try:
            client.update_table(existing, ["view_query", "description"], **call_options)
        except PreconditionFailed:
            raise TransientError(
                f"bigquery://{wanted.reference} was changed by another run: run it again."
            ) from None


def _query_of(view: View, names: dict[str, str]) -> str:
    words = {
        placeholder: composed(words_of_codes(column, TYPES[TEXT]), column, {column.name})
        for placeholder, column in view.words.items()
    }
    minutes = DIALECT.minutes.format("trips.pickup_datetime", "trips.dropoff_datetime")
    return view.query.format(**names, **words, minutes=minutes).strip()


def _described(description: str) -> str:
    return f"OPTIONS (description = {json.dumps(description)})"
