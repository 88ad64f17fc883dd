"""The checks: the ledger and the data's quality as asset checks, of each month.

Like the ledger they ask the stores, and what only the cleaning knew they read where it left it: so
a check can be run again at any time, without materializing anything. What adds up is the ledger's
to say; here it is shown to Dagster.
"""

import warnings
from collections.abc import Iterator, Mapping
from functools import partial

import dagster as dg

from taxi_pipeline.assets.findings import UNKNOWN_CODES, UNKNOWN_COLUMNS, Findings
from taxi_pipeline.assets.reporting import (
    RETRIES,
    compared,
    counts,
    do_not_retry_run,
    retried_if_transient,
    table,
)
from taxi_pipeline.assets.trips import month_of, months_of
from taxi_pipeline.ledger import LakeEntry, lake_entry
from taxi_pipeline.resources.database import Database
from taxi_pipeline.resources.environment import rejected_share
from taxi_pipeline.resources.lake import Lake, place_of
from taxi_pipeline.resources.warehouse import Warehouse
from taxi_pipeline.tlc.services import Service
from taxi_pipeline.tlc.tally import Tally

EVERY_ROW = "every_row_accounted_for"
REJECTED_SHARE = "rejected_share"
MATCHES_LAKE = "matches_lake"

_warning = partial(dg.AssetCheckResult, severity=dg.AssetCheckSeverity.WARN)


def trips_checks(service: Service) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a service: on its cleaned trips, and on each table."""
    with warnings.catch_warnings():
        # Dagster calls the partitions of checks a preview; the tests hold what we need of them
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [_of_cleaned(service), *_of_tables(service)]


def _of_cleaned(service: Service) -> dg.AssetChecksDefinition:
    spec = partial(
        dg.AssetCheckSpec,
        asset=["cleaned", service.trips.name],
        partitions_def=months_of(service),
    )

    @dg.multi_asset_check(
        name=f"cleaned__{service.trips.name}_checks",
        specs=[
            spec(
                EVERY_ROW,
                blocking=True,
                description="Every published row is kept or rejected, of the raw file that is "
                "there. A run in which this fails loads nothing.",
            ),
            spec(
                REJECTED_SHARE,
                description="The share of rejected rows is not above TAXI_REJECTED_SHARE.",
            ),
            spec(UNKNOWN_COLUMNS, description="Every published column is declared."),
            spec(UNKNOWN_CODES, description="Every code and word in the trips is declared."),
        ],
        retry_policy=RETRIES,
    )
    def checks(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[dg.AssetCheckResult]:
        with retried_if_transient(context):
            limit = rejected_share()
            month = month_of(context, service)
            entry = lake_entry(service, month, lake)
            name = place_of(service, month).cleaned
            found = {cleaned.name: cleaned.metadata for cleaned in lake.find(name)}
            noted = found.get(name, {})  # another's may only begin like it
            if entry.problems:
                do_not_retry_run(context)
            yield _every_row(entry)
            yield _rejected_share(entry, limit)
            yield _nothing_unknown(
                UNKNOWN_COLUMNS, noted, {"column": "string"}, "{column}", "They stay in raw"
            )
            yield _nothing_unknown(
                UNKNOWN_CODES,
                noted,
                {"column": "string", "code": "string", "rows": "int"},
                "{column}={code} (rows: {rows:,})",
                "The trips keep them",
            )

    return checks


def _of_tables(service: Service) -> Iterator[dg.AssetChecksDefinition]:
    trips, total = service.trips, service.total
    check = partial(
        dg.asset_check,
        name=MATCHES_LAKE,
        description="The month has the lake's rows, and its total to the cent."
        if total
        else "The month has the lake's rows.",
        partitions_def=months_of(service),
        retry_policy=RETRIES,
    )

    @check(asset=["bigquery", trips.name])
    def in_bigquery(
        context: dg.AssetCheckExecutionContext, lake: Lake, warehouse: Warehouse
    ) -> dg.AssetCheckResult:
        with retried_if_transient(context):
            month = month_of(context, service)
            entry = lake_entry(service, month, lake)
            tally = entry.in_table(warehouse.tallies(trips, total, month, month), month)
            return _matches_lake(entry, "BigQuery", tally, total)

    @check(asset=["postgres", trips.name])
    def in_postgres(
        context: dg.AssetCheckExecutionContext, lake: Lake, database: Database
    ) -> dg.AssetCheckResult:
        with retried_if_transient(context):
            month = month_of(context, service)
            entry = lake_entry(service, month, lake)
            tally = entry.in_table(database.tallies(trips, total, month, month), month)
            return _matches_lake(entry, "Postgres", tally, total)

    yield from (in_bigquery, in_postgres)


def _every_row(lake: LakeEntry) -> dg.AssetCheckResult:
    kept = lake.kept.rows if lake.kept else None
    rejected = None if lake.rejected is None else lake.rejected.total()
    known = None if kept is None or rejected is None else kept + rejected
    return dg.AssetCheckResult(
        check_name=EVERY_ROW,
        passed=not lake.problems,
        description=" ".join(lake.problems)
        or f"{lake.published:,} rows were published: {kept:,} kept and {rejected:,} rejected.",
        metadata={
            "compared": compared(
                {"rows": lake.published, "of the raw file that is there": True},
                {"rows": known, "of the raw file that is there": lake.of_this_raw},
            ),
            "kept": kept,
            "rejected": rejected,
            "rejected_because": counts("reason", lake.rejected or {}),
        },
    )


def _rejected_share(lake: LakeEntry, limit: float) -> dg.AssetCheckResult:
    if lake.published is None or lake.rejected is None:
        return _warning(
            check_name=REJECTED_SHARE, passed=False, description=" ".join(lake.problems)
        )
    share = lake.rejected.total() / max(lake.published, 1)
    return _warning(
        check_name=REJECTED_SHARE,
        passed=share <= limit,
        description=f"{share:.2%} of the published rows were rejected; up to {limit:.2%} are "
        "expected (TAXI_REJECTED_SHARE).",
        metadata={
            "share": share,
            "expected_up_to": limit,
            "rejected_because": counts("reason", lake.rejected),
        },
    )


def _nothing_unknown(
    name: str,
    noted: Mapping[str, str],
    columns: Mapping[str, str],
    one: str,
    what_becomes_of_them: str,
) -> dg.AssetCheckResult:
    """Judge the findings noted under that name; `one` says a finding of those columns in words."""
    if name not in noted:
        return _warning(
            check_name=name,
            passed=False,
            description="The lake has no cleaned trips that say what was found: materialize the "
            "cleaned asset again.",
        )
    found = Findings.parse(noted[name])
    listed = ", ".join(one.format_map(finding) for finding in found.listed)
    more = f" and {found.left_out} more" if found.left_out else ""
    number = len(found.listed) + found.left_out
    return _warning(
        check_name=name,
        passed=not number,
        description=f"Not declared: {listed}{more}. {what_becomes_of_them}; declare them in "
        "tlc/services.py."
        if number
        else "All are declared.",
        metadata={
            "compared": compared({name: 0}, {name: number}),
            "found": table(columns, found.listed),
            "left_out": found.left_out,
        },
    )


def _matches_lake(
    lake: LakeEntry, store: str, tally: Tally | None, total: str | None
) -> dg.AssetCheckResult:
    problems = lake.problems_with(store, tally)
    if lake.kept is None:  # then nothing matches it, not even nothing
        problems = [*lake.problems, *problems]
    return dg.AssetCheckResult(
        passed=not problems,
        description=" ".join(problems) or f"{store} has what the lake has.",
        metadata={"compared": compared(_figures(lake.kept, total), _figures(tally, total))},
    )


def _figures(tally: Tally | None, total: str | None) -> dict[str, float | None]:
    if tally is None:
        return {}
    return {"rows": tally.rows} | ({total: tally.total} if total else {})
