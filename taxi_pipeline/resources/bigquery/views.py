"""A view in BigQuery: how a declared one is spelled there, and put in place of the one before."""

import json

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.sql import words_of_codes
from taxi_pipeline.marts import View
from taxi_pipeline.resources.bigquery.cells import composed
from taxi_pipeline.resources.bigquery.jobs import Jobs
from taxi_pipeline.resources.bigquery.tables import DIALECT, TYPES
from taxi_pipeline.tlc.services import TEXT


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


def _query_of(view: View, names: dict[str, str]) -> str:
    words = {
        placeholder: composed(words_of_codes(column, TYPES[TEXT]), column, {column.name})
        for placeholder, column in view.words.items()
    }
    minutes = DIALECT.minutes.format("trips.pickup_datetime", "trips.dropoff_datetime")
    return view.query.format(**names, **words, minutes=minutes).strip()


def _described(description: str) -> str:
    return f"OPTIONS (description = {json.dumps(description)})"
