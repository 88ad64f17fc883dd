"""The checks: the ledger and the data's quality as asset checks, of months, mart and zones.

Checks query the stores, like the ledger. What only cleaning can find is read from the cleaned
object's metadata. So a check can be run again at any time, without cleaning anything again. The
ledger defines what adds up; a check shows it to Dagster.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import dagster as dg

from taxi_pipeline.assets.daily_trips import MONTHS
from taxi_pipeline.assets.findings import (
    DAYS_WITHOUT_TRIPS,
    UNKNOWN_CODES,
    UNKNOWN_COLUMNS,
    Findings,
)
from taxi_pipeline.assets.keys import MART, asset_key
from taxi_pipeline.assets.reporting import (
    RETRIES,
    compared,
    counts,
    do_not_retry_run,
    retried_if_transient,
    table,
)
from taxi_pipeline.assets.steps import not_published
from taxi_pipeline.assets.tags import ACCEPT_FEWER_ROWS, HOW_TO_ACCEPT, is_set
from taxi_pipeline.assets.trips import month_of, months_of
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.ledger import LakeEntry, lake_entry, mart_problems, zones_lake_entry
from taxi_pipeline.resources.database import Database
from taxi_pipeline.resources.environment import fewer_rows_share, rejected_share
from taxi_pipeline.resources.lake import SOURCE_URL, ZONES_PATHS, Lake, ObjectPaths, object_paths
from taxi_pipeline.resources.warehouse import Warehouse
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, TAXI_ZONES, Service
from taxi_pipeline.tlc.shrinkage import Comparison
from taxi_pipeline.tlc.tally import Tally

EVERY_ROW = "every_row_accounted_for"
ROWS_AS_BEFORE = "rows_as_before"
FROM_PUBLISHER = "from_publisher"
REJECTED_SHARE = "rejected_share"
MATCHES_LAKE = "matches_lake"
MATCHES_TRIPS = "matches_trips"

_FROM_PUBLISHER_DESCRIPTION = (
    "The month's file is the publisher's, and not one that somebody else put into the lake."
)
_EVERY_ROW_DESCRIPTION = (
    "Every published row is kept or rejected, of the raw file that is there. A run in which this "
    "fails loads nothing."
)

_warning = partial(dg.AssetCheckResult, severity=dg.AssetCheckSeverity.WARN)


def trips_checks(service: Service) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a service: on its cleaned trips, and on each table."""
    with warnings.catch_warnings():
        # Dagster calls the partitions of checks a preview; the tests hold what we need of them
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [_of_cleaned(service), *_of_tables(service)]


def zones_checks() -> list[dg.AssetChecksDefinition]:
    """Return the checks of the taxi zones: on the cleaned ones, and on each table."""
    name = TAXI_ZONES.name
    matches_lake = partial(
        dg.asset_check,
        name=MATCHES_LAKE,
        description="The table has the lake's rows.",
        retry_policy=RETRIES,
    )

    @dg.asset_check(
        asset=asset_key(name, "cleaned"),
        name=EVERY_ROW,
        blocking=True,
        description=_EVERY_ROW_DESCRIPTION,
        retry_policy=RETRIES,
    )
    def in_lake(context: dg.AssetCheckExecutionContext, lake: Lake) -> dg.AssetCheckResult:
        with retried_if_transient(context):
            entry = zones_lake_entry(lake)
            if entry.problems:
                do_not_retry_run(context)
            return _every_row(entry)

    @dg.asset_check(
        asset=asset_key(name, "cleaned"),
        name=FROM_PUBLISHER,
        description=_FROM_PUBLISHER_DESCRIPTION,
        retry_policy=RETRIES,
    )
    def from_publisher(context: dg.AssetCheckExecutionContext, lake: Lake) -> dg.AssetCheckResult:
        with retried_if_transient(context):
            return _from_publisher(lake, ZONES_PATHS)

    @matches_lake(asset=asset_key(name, "bigquery"))
    def in_bigquery(
        context: dg.AssetCheckExecutionContext, lake: Lake, warehouse: Warehouse
    ) -> dg.AssetCheckResult:
        with retried_if_transient(context):
            tally = warehouse.tally(TAXI_ZONES)
            return _matches_lake(zones_lake_entry(lake), warehouse.title, tally, None)

    @matches_lake(asset=asset_key(name, "postgres"))
    def in_postgres(
        context: dg.AssetCheckExecutionContext, lake: Lake, database: Database
    ) -> dg.AssetCheckResult:
        with retried_if_transient(context):
            tally = database.tally(TAXI_ZONES)
            return _matches_lake(zones_lake_entry(lake), database.title, tally, None)

    return [in_lake, from_publisher, in_bigquery, in_postgres]


def mart_checks() -> list[dg.AssetChecksDefinition]:
    """Return the checks of the mart of daily trips."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)

        @dg.asset_check(
            asset=MART,
            name=MATCHES_TRIPS,
            description="The days of the month sum up, for each service, to the trips that "
            "BigQuery's table has of it, and to their total to the cent.",
            partitions_def=MONTHS,
            retry_policy=RETRIES,
        )
        def in_mart(
            context: dg.AssetCheckExecutionContext,
            warehouse: Warehouse,
            mart_month: dg.ResourceParam[Month],
        ) -> dg.AssetCheckResult:
            with retried_if_transient(context):
                return _matches_trips(warehouse, mart_month)

    return [in_mart]


def _matches_trips(warehouse: Warehouse, month: Month) -> dg.AssetCheckResult:
    problems: list[str] = []
    expected: dict[str, float | None] = {}
    actual: dict[str, float | None] = {}
    for service in SERVICES.values():
        nothing = Tally(0, 0 if service.total else None)
        mart = warehouse.mart_tallies(service, month, month).get(month, nothing)
        trips = warehouse.tallies(service.trips, service.total, month, month).get(month, nothing)
        problems += [f"{service.name}: {problem}" for problem in mart_problems(mart, trips)]
        for figures, tally in ((expected, trips), (actual, mart)):
            figures[f"{service.name} trips"] = tally.rows
            if service.total:
                figures[f"{service.name} revenue"] = tally.total
    return dg.AssetCheckResult(
        passed=not problems,
        description=" ".join(problems) or "The mart has what BigQuery's tables have.",
        metadata={"compared": compared(expected, actual)},
    )


def _of_cleaned(service: Service) -> dg.AssetChecksDefinition:
    spec = partial(
        dg.AssetCheckSpec,
        asset=asset_key(service.trips.name, "cleaned"),
        partitions_def=months_of(service),
    )

    @dg.multi_asset_check(
        name=f"{service.name}_cleaned_checks",
        specs=[
            spec(
                EVERY_ROW,
                blocking=True,
                description=_EVERY_ROW_DESCRIPTION,
            ),
            spec(
                ROWS_AS_BEFORE,
                blocking=True,
                description="The month has as many trips as what it replaces and the months beside "
                "it, up to TAXI_FEWER_ROWS_SHARE fewer, and some on every day. A run in which next "
                "to nothing is left loads nothing, unless it has the tag "
                f"{ACCEPT_FEWER_ROWS} with the value true.",
            ),
            spec(FROM_PUBLISHER, description=_FROM_PUBLISHER_DESCRIPTION),
            spec(
                REJECTED_SHARE,
                description="The share of rejected rows is not above TAXI_REJECTED_SHARE.",
            ),
            spec(UNKNOWN_COLUMNS, description="Every published column is declared."),
            spec(UNKNOWN_CODES, description="Every code and word in the trips is declared."),
        ],
        retry_policy=RETRIES,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, lake: Lake, warehouse: Warehouse, database: Database
    ) -> Iterator[dg.AssetCheckResult]:
        with retried_if_transient(context):
            limit, fewer = rejected_share(), fewer_rows_share()
            accepted = is_set(context.run, ACCEPT_FEWER_ROWS)
            month = month_of(context, service)
            entry = lake_entry(service, month, lake)
            noted = _noted(lake, service, month)
            every_row = _every_row(entry)
            if entry.kept:
                neighbours = {
                    each: int(kept)
                    for each in (month.previous, month.next)
                    if (kept := _noted(lake, service, each).get("kept", "")).isdecimal()
                }
                held, silent = _held(context, service, month, (warehouse, database))
                empty_days = json.loads(noted.get(DAYS_WITHOUT_TRIPS, "[]"))
                replaced = max(held.values(), default=None)
                comparison = Comparison(month, entry.kept.rows, replaced, neighbours, empty_days)
                as_before = _rows_as_before(comparison, held, silent, fewer, accepted)
            else:
                as_before = dg.AssetCheckResult(
                    check_name=ROWS_AS_BEFORE, passed=False, description=" ".join(entry.problems)
                )
            if any(
                not each.passed and each.severity == dg.AssetCheckSeverity.ERROR
                for each in (every_row, as_before)
            ):
                do_not_retry_run(context)
            yield every_row
            yield as_before
            yield _from_publisher(lake, object_paths(service, month))
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

    @check(asset=asset_key(trips.name, "bigquery"))
    def in_bigquery(
        context: dg.AssetCheckExecutionContext, lake: Lake, warehouse: Warehouse
    ) -> dg.AssetCheckResult:
        with retried_if_transient(context):
            month = month_of(context, service)
            entry = lake_entry(service, month, lake)
            tally = entry.in_table(warehouse.tallies(trips, total, month, month), month)
            return _matches_lake(entry, "BigQuery", tally, total)

    @check(asset=asset_key(trips.name, "postgres"))
    def in_postgres(
        context: dg.AssetCheckExecutionContext, lake: Lake, database: Database
    ) -> dg.AssetCheckResult:
        with retried_if_transient(context):
            month = month_of(context, service)
            entry = lake_entry(service, month, lake)
            tally = entry.in_table(database.tallies(trips, total, month, month), month)
            return _matches_lake(entry, "Postgres", tally, total)

    yield from (in_bigquery, in_postgres)


def _noted(lake: Lake, service: Service, month: Month) -> Mapping[str, str]:
    """Return what stands in the metadata of a month's cleaned object; nothing where there is none.

    Of an object whose name only begins like it nothing is read.
    """
    name = object_paths(service, month).cleaned
    return {item.name: item.metadata for item in lake.find(name)}.get(name, {})


def _held(
    context: dg.AssetCheckExecutionContext,
    service: Service,
    month: Month,
    stores: Sequence[Warehouse | Database],
) -> tuple[Mapping[str, int], Sequence[str]]:
    """Return how many rows each table has of the month, and which stores did not answer.

    A store that is away must not keep the month from the others, and gets none of it itself. Raises
    what the first said where none answers.
    """
    held: dict[str, int] = {}
    errors: dict[str, PermanentError | TransientError] = {}
    for store in stores:
        try:
            # without a total: of BigQuery's columns the pick-up time alone is read
            tally = store.tallies(service.trips, None, month, month).get(month)
        except (PermanentError, TransientError) as error:
            errors[store.title] = error
            context.log.warning(f"{store.title} did not say how many rows it has: {error}")
        else:
            if tally:
                held[store.title] = tally.rows - tally.rows_without_pickup
    if len(errors) == len(stores):
        raise next(iter(errors.values()))
    return held, [*errors]


def _rows_as_before(
    comparison: Comparison,
    held: Mapping[str, int],
    silent: Sequence[str],
    share: float,
    accepted: bool,
) -> dg.AssetCheckResult:
    blocks = comparison.next_to_nothing and not accepted
    sentences = comparison.shortfalls(0 if comparison.next_to_nothing else share)
    passed = not sentences
    if passed:
        sentences = [f"The month has {comparison.trips:,} trips, as can be expected."]
    elif comparison.next_to_nothing and accepted:
        sentences.append(f"The tag {ACCEPT_FEWER_ROWS} lets it through.")
    elif blocks:
        sentences.append(HOW_TO_ACCEPT)
    else:
        sentences.append(f"Up to {share:.0%} fewer are expected (TAXI_FEWER_ROWS_SHARE).")
    sentences += [f"{store} did not say how many it has." for store in silent]
    return dg.AssetCheckResult(
        check_name=ROWS_AS_BEFORE,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN,
        description=" ".join(sentences),
        metadata={
            "rows": table(
                {"of": "string", "rows": "int"},
                [
                    {"of": name, "rows": rows}
                    for name, rows in {
                        str(comparison.month): comparison.trips,
                        **held,
                        **{str(month): trips for month, trips in comparison.neighbours.items()},
                    }.items()
                ],
            ),
            "days_without_trips": [*comparison.empty_days],
            "expected_fewer_up_to": share,
        },
    )


def _every_row(lake: LakeEntry) -> dg.AssetCheckResult:
    kept = lake.kept.rows if lake.kept else None
    rejected = None if lake.rejected is None else lake.rejected.total()
    cleaned = None if kept is None or rejected is None else kept + rejected
    return dg.AssetCheckResult(
        check_name=EVERY_ROW,
        passed=not lake.problems,
        description=" ".join(lake.problems)
        or f"{lake.published:,} rows were published: {kept:,} kept and {rejected:,} rejected.",
        metadata={
            "compared": compared(
                {"rows": lake.published, "of the raw file that is there": True},
                {"rows": cleaned, "of the raw file that is there": lake.of_this_raw},
            ),
            "kept": kept,
            "rejected": rejected,
            "rejected_because": counts("reason", lake.rejected or {}),
        },
    )


def _from_publisher(lake: Lake, paths: ObjectPaths) -> dg.AssetCheckResult:
    raw = next(iter(lake.raw_objects(paths)), None)
    if raw is None:
        description = "The lake has no published file."
    elif raw.is_fetched:
        description = f"The file comes from {raw.metadata[SOURCE_URL]}."
    else:
        description = not_published(raw)
    return _warning(
        check_name=FROM_PUBLISHER,
        passed=raw is not None and raw.is_fetched,
        description=description,
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
    template: str,
    what_becomes_of_them: str,
) -> dg.AssetCheckResult:
    """Check the findings noted under that name; `template` formats one of those columns."""
    if name not in noted:
        return _warning(
            check_name=name,
            passed=False,
            description="The lake has no cleaned trips that say what was found: materialize the "
            "cleaned asset again.",
        )
    findings = Findings.parse(noted[name])
    listed = ", ".join(template.format_map(finding) for finding in findings.listed)
    more = f" and {findings.left_out} more" if findings.left_out else ""
    number = len(findings.listed) + findings.left_out
    return _warning(
        check_name=name,
        passed=not number,
        description=f"Not declared: {listed}{more}. {what_becomes_of_them}; declare them in "
        "tlc/services.py."
        if number
        else "All are declared.",
        metadata={
            "compared": compared({name: 0}, {name: number}),
            "found": table(columns, findings.listed),
            "left_out": findings.left_out,
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
