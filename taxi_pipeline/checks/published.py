"""The checks of a published table: on its cleaned rows, and on the table of each sink.

What a check found is put into words in `results`.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.looks import LakeLook, looks_of
from taxi_pipeline.assets.published import PublishedTable
from taxi_pipeline.assets.reporting import RETRIES, do_not_retry_run, retried_if_transient
from taxi_pipeline.assets.tags import ACCEPT_FEWER_ROWS, RECOUNT, is_set
from taxi_pipeline.checks.results import (
    EVERY_ROW,
    FROM_PUBLISHER,
    MATCHES_LAKE,
    REJECTED_SHARE,
    ROWS_AS_BEFORE,
    UNKNOWN_CODES,
    UNKNOWN_COLUMNS,
    every_row_result,
    from_publisher_result,
    matches_lake_result,
    odd_share_result,
    rejected_share_result,
    rows_as_before_result,
    rows_match_result,
    unknown_codes_result,
    unknown_columns_result,
)
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.lake.cleaned import find_cleaned
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.ledger import Cells, Depth, LakeEntry, store_cells
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.settings import check_depth, fewer_rows_share, rejected_share
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.column_tallies import NULLS
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.rules import Rule, rules_for
from taxi_pipeline.tlc.services import SERVICES, Table
from taxi_pipeline.tlc.shrinkage import Comparison
from taxi_pipeline.tlc.tally import Tally

_DESCRIPTIONS = {
    EVERY_ROW: "Every published row is kept or rejected, of the raw file that is there. A run in "
    "which this fails loads nothing.",
    ROWS_AS_BEFORE: "The month has as many trips as what it replaces and the months beside it, up "
    "to TAXI_FEWER_ROWS_SHARE fewer, and some on every day. A run in which next to nothing is left "
    f"loads nothing, unless it has the tag {ACCEPT_FEWER_ROWS} with the value true.",
    FROM_PUBLISHER: "The file is the publisher's, and not one that somebody else put into the "
    "lake.",
    REJECTED_SHARE: "The share of rejected rows is not above TAXI_REJECTED_SHARE.",
    UNKNOWN_COLUMNS: "Every published column is declared.",
    UNKNOWN_CODES: "Every code and word in the trips is declared.",
}
_OF_EVERY_TABLE = {EVERY_ROW, FROM_PUBLISHER}  # the others are of months
_BLOCKING = {EVERY_ROW, ROWS_AS_BEFORE}


def _descriptions(published: PublishedTable) -> Mapping[str, str]:
    """Return the description of each check of a table's cleaned rows, by name."""
    if not published.partitions:
        return {name: text for name, text in _DESCRIPTIONS.items() if name in _OF_EVERY_TABLE}
    warnings_of_rules = {
        rule.name: f"{rule.description} No more than {rule.action.warns_above:.0%} of the trips "
        "are such."
        for rule in _warning_rules(published)
    }
    return {**_DESCRIPTIONS, **warnings_of_rules}


def _warning_rules(published: PublishedTable) -> list[Rule]:
    rules = rules_for(published.table)
    return [rule for rule in rules if rule.action.warns_above is not None]


def published_checks(
    published: PublishedTable, sinks: Sequence[type[Sink]]
) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a table: on its cleaned rows, and on the table of each sink."""
    with warnings.catch_warnings():
        # Dagster calls the partitions of checks a preview; the tests hold what we need of them
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            _cleaned_checks(published, sinks),
            *(_sink_check(published, sink) for sink in sinks),
        ]


def _cleaned_checks(
    published: PublishedTable, sinks: Sequence[type[Sink]]
) -> dg.AssetChecksDefinition:
    table = published.table

    @dg.multi_asset_check(
        name=f"{published.group}_cleaned_checks",
        specs=[
            dg.AssetCheckSpec(
                name,
                asset=asset_key(table.name, "cleaned"),
                partitions_def=published.partitions,
                blocking=name in _BLOCKING,
                description=description,
            )
            for name, description in _descriptions(published).items()
        ],
        required_resource_keys={"lake", *(sink.name for sink in sinks if published.partitions)},
        retry_policy=RETRIES,
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with retried_if_transient(context):
            lake: Lake = context.resources.lake
            file = published.file_of(context.run)
            depth = Depth.PUBLISHED if is_set(context.run, RECOUNT) else Depth.ROWS
            look = looks_of(context.run.run_id).lake(
                lake, file.paths, published.table, published.total, depth
            )
            raw = [item for item in look.objects if item.name in file.paths.raw_names]
            results = [every_row_result(look.entry), from_publisher_result(raw)]
            if file.month:
                stores = [getattr(context.resources, sink.name) for sink in sinks]
                results += _month_results(context, published, file.month, lake, look, stores)
            if any(
                not each.passed and each.severity == dg.AssetCheckSeverity.ERROR for each in results
            ):
                do_not_retry_run(context)
            yield from results

    return checks


def _month_results(
    context: dg.AssetCheckExecutionContext,
    published: PublishedTable,
    month: Month,
    lake: Lake,
    look: LakeLook,
    sinks: Sequence[Sink],
) -> list[dg.AssetCheckResult]:
    """Return the results of the checks that only a month has."""
    limit, fewer = rejected_share(), fewer_rows_share()
    accepted = is_set(context.run, ACCEPT_FEWER_ROWS)
    entry, history = look.entry, look.stored.history
    if entry.kept:
        held, silent = _held(context, published, month, sinks)
        comparison = Comparison(
            month,
            entry.kept.rows,
            max(held.values(), default=None),
            _neighbours(lake, published, month),
            history.days_without_trips or [],
        )
        as_before = rows_as_before_result(comparison, held, silent, fewer, accepted)
    else:
        as_before = dg.AssetCheckResult(
            check_name=ROWS_AS_BEFORE, passed=False, description=" ".join(entry.problems)
        )
    return [
        as_before,
        rejected_share_result(entry, limit),
        unknown_columns_result(history.unknown_columns),
        unknown_codes_result(history.unknown_codes),
        *(odd_share_result(rule, history) for rule in _warning_rules(published)),
    ]


def _neighbours(lake: Lake, published: PublishedTable, month: Month) -> Mapping[Month, int]:
    """Return how many trips the lake has of the months beside this one, where it has them."""
    service = SERVICES[published.group]
    kept = {
        each: find_cleaned(lake, object_paths(service, each)).kept
        for each in (month.previous, month.next)
    }
    return {each: rows for each, rows in kept.items() if rows is not None}


def _held(
    context: dg.AssetCheckExecutionContext,
    published: PublishedTable,
    month: Month,
    sinks: Sequence[Sink],
) -> tuple[Mapping[str, int], Sequence[str]]:
    """Return how many rows each table has of the month, and which sinks did not answer.

    A sink that is away must not keep the month from the others, and gets none of it itself. Raises
    what the first said where none answers.
    """
    looks = looks_of(context.run.run_id)
    held: dict[str, int] = {}
    errors: dict[str, PermanentError | TransientError] = {}
    for sink in sinks:
        try:
            rows = looks.rows(sink, published.table, month)
        except (PermanentError, TransientError) as error:
            errors[sink.title] = error
            context.log.warning(f"{sink.title} did not say how many rows it has: {error}")
        else:
            if rows is not None:
                held[sink.title] = rows
    if len(errors) == len(sinks):
        raise next(iter(errors.values()))
    return held, [*errors]


def _sink_check(published: PublishedTable, sink: type[Sink]) -> dg.AssetChecksDefinition:
    what = "The month" if published.partitions else "The table"

    @dg.asset_check(
        asset=asset_key(published.table.name, sink.name),
        name=MATCHES_LAKE,
        description=f"{what} has the lake's rows, and in every column the same figures "
        f"(TAXI_CHECK_DEPTH). In a run with the tag {RECOUNT} every cell is compared, by a "
        "fingerprint of the rows.",
        partitions_def=published.partitions,
        required_resource_keys={"lake", sink.name},
        # of checks alone the first: what it sees of the table is all that the others need of it
        op_tags={"dagster/priority": "1"},
        retry_policy=RETRIES,
    )
    def matches_lake(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        with retried_if_transient(context):
            lake: Lake = context.resources.lake
            file = published.file_of(context.run)
            recounts = is_set(context.run, RECOUNT)
            depth = Depth.CELLS if recounts else Depth[check_depth().upper()]
            looks = looks_of(context.run.run_id)
            entry = looks.cleaned(lake, file.paths, published.table, published.total, depth)
            store: Sink = getattr(context.resources, sink.name)
            if depth == Depth.ROWS:
                tally = _tally(published, store, file.month, entry)
                looks.note(store, tally)
                return rows_match_result(entry, store, tally, published.total)
            cells = store_cells(store, published.table, file.month, depth)
            looks.note(store, _rows_of(published.table, cells))
            return matches_lake_result(published.table, entry, store, cells, published.total)

    return matches_lake


def _rows_of(table: Table, cells: Cells) -> Tally:
    """Return the rows of a table as its column tallies have them, without a total."""
    of = cells.columns
    without_pickup = of.columns[table.partitioned_by][NULLS] if table.partitioned_by else None
    return Tally(of.rows, None, without_pickup or 0)


def _tally(
    published: PublishedTable, sink: Sink, month: Month | None, entry: LakeEntry
) -> Tally | None:
    """Return what a sink's table has of the month, or of the whole of a table without months."""
    if month is None:
        return sink.tally(published.table)
    tallies = sink.tallies(published.table, published.total, month, month)
    return entry.in_table(tallies, month)
