"""What a check found, in sentences and tables, as Dagster shows it.

Nothing here asks a store.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import dagster as dg

from taxi_pipeline.assets.reporting import compared, counts, table
from taxi_pipeline.assets.tags import ACCEPT_FEWER_ROWS, HOW_TO_ACCEPT
from taxi_pipeline.lake.metadata import CleanedMetadata, Findings, RawMetadata
from taxi_pipeline.lake.raw import is_fetched, not_published
from taxi_pipeline.ledger import Cells, LakeEntry
from taxi_pipeline.resources.gcs import LakeObject
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.column_tallies import NULLS, SUM, ColumnTallies, as_text, figures_of
from taxi_pipeline.tlc.rules import Rule
from taxi_pipeline.tlc.services import Table
from taxi_pipeline.tlc.shrinkage import Comparison
from taxi_pipeline.tlc.tally import Tally

EVERY_ROW = "every_row_accounted_for"
ROWS_AS_BEFORE = "rows_as_before"
FROM_PUBLISHER = "from_publisher"
REJECTED_SHARE = "rejected_share"
UNKNOWN_COLUMNS = "unknown_columns"
UNKNOWN_CODES = "unknown_codes"
MATCHES_LAKE = "matches_lake"

_SENTENCES = 8  # of a description

_warning = partial(dg.AssetCheckResult, severity=dg.AssetCheckSeverity.WARN)


def rows_as_before_result(
    comparison: Comparison,
    held: Mapping[str, int],
    silent: Sequence[str],
    share: float,
    accepted: bool,
) -> dg.AssetCheckResult:
    """Return whether a month has as many trips as can be expected.

    Args:
        comparison: The month's trips, and what they are held against.
        held: How many rows each sink has of the month, by its title.
        silent: The titles of the sinks that did not say.
        share: The share by which there may be fewer.
        accepted: Whether the run has the tag that lets the month through.
    """
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


def every_row_result(lake: LakeEntry) -> dg.AssetCheckResult:
    """Return whether every published row is kept or rejected."""
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


def from_publisher_result(raw: Sequence[LakeObject]) -> dg.AssetCheckResult:
    """Return whether the newest of the raw objects, which come first, is the publisher's."""
    newest = next(iter(raw), None)
    if newest is None:
        description = "The lake has no published file."
    elif is_fetched(newest):
        description = f"The file comes from {RawMetadata.parse(newest.metadata).source_url}."
    else:
        description = not_published(newest)
    return _warning(
        check_name=FROM_PUBLISHER,
        passed=newest is not None and is_fetched(newest),
        description=description,
    )


def rejected_share_result(lake: LakeEntry, limit: float) -> dg.AssetCheckResult:
    """Return whether the share of rejected rows is not above the limit."""
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


def odd_share_result(rule: Rule, history: CleanedMetadata) -> dg.AssetCheckResult:
    """Return whether no more of the kept rows are odd by a rule than is usual."""
    usual = rule.action.warns_above or 0.0
    if history.noted is None or history.kept is None:
        return _warning(
            check_name=rule.name,
            passed=False,
            description="The lake has no cleaned trips that say how many are odd: materialize the "
            "cleaned asset again.",
        )
    odd = history.noted.get(rule.name, 0)
    share = odd / max(history.kept, 1)
    return _warning(
        check_name=rule.name,
        passed=share <= usual,
        description=f"{rule.description} It holds for {odd:,} of {history.kept:,} trips, which is "
        f"{share:.2%}; up to {usual:.2%} is usual.",
        metadata={"share": share, "expected_up_to": usual, "rows": odd},
    )


def unknown_columns_result(findings: Findings | None) -> dg.AssetCheckResult:
    """Return whether every published column is declared; `findings` is None where nobody knows."""
    return _nothing_unknown(
        UNKNOWN_COLUMNS, findings, {"column": "string"}, "{column}", "They stay in raw"
    )


def unknown_codes_result(findings: Findings | None) -> dg.AssetCheckResult:
    """Return whether every code and word is declared; `findings` is None where nobody knows."""
    return _nothing_unknown(
        UNKNOWN_CODES,
        findings,
        {"column": "string", "code": "string", "rows": "int"},
        "{column}={code} (rows: {rows:,})",
        "The trips keep them",
    )


def _nothing_unknown(
    name: str,
    findings: Findings | None,
    columns: Mapping[str, str],
    template: str,
    what_becomes_of_them: str,
) -> dg.AssetCheckResult:
    """Check findings, each of which has these columns and is put into words by `template`."""
    if findings is None:
        return _warning(
            check_name=name,
            passed=False,
            description="The lake has no cleaned trips that say what was found: materialize the "
            "cleaned asset again.",
        )
    listed = ", ".join(template.format_map(finding) for finding in findings.listed)
    more = f" and {findings.left_out} more" if findings.left_out else ""
    return _warning(
        check_name=name,
        passed=not findings.total,
        description=f"Not declared: {listed}{more}. {what_becomes_of_them}; declare them in "
        "tlc/services/."
        if findings.total
        else "All are declared.",
        metadata={
            "compared": compared({name: 0}, {name: findings.total}),
            "found": table(columns, findings.listed),
            "left_out": findings.left_out,
        },
    )


def rows_match_result(
    lake: LakeEntry, sink: Sink, tally: Tally | None, total: str | None
) -> dg.AssetCheckResult:
    """Return whether a sink's table has the lake's rows and its total; None for no such month."""
    problems = lake.problems_with(sink.title, tally)
    if lake.kept is None:  # then nothing matches it, not even nothing
        problems = [*lake.problems, *problems]

    def figures(of: Tally | None) -> dict[str, float | None]:
        return {"rows": of.rows, **({total: of.total} if total else {})} if of else {}

    return dg.AssetCheckResult(
        passed=not problems,
        description=" ".join(problems) or f"{sink.title} has what the lake has.",
        metadata={"compared": compared(figures(lake.kept), figures(tally))},
    )


def matches_lake_result(
    declared: Table, lake: LakeEntry, sink: Sink, held: Cells, total: str | None
) -> dg.AssetCheckResult:
    """Return whether a sink's table has what the lake has, column by column.

    Args:
        declared: The declared table.
        lake: What the lake has.
        sink: The sink.
        held: What the sink has.
        total: The column, in dollars, whose sum is shown first; None for none.
    """
    tally = _tally(declared, held.columns, lake)
    problems = lake.problems_with(sink.title, tally)
    if lake.cells and not problems:
        problems = lake.cells.problems_with(declared, sink.title, held)
    if lake.kept is None or lake.cells is None:  # then nothing matches it, not even nothing
        problems = [*lake.problems, *problems] or ["The lake's columns could not be counted."]
    return dg.AssetCheckResult(
        passed=not problems,
        description=" ".join(_shortened(problems)) or f"{sink.title} has what the lake has.",
        metadata={
            "compared": compared(
                _figures(declared, lake.cells.columns if lake.cells else None, total),
                _figures(declared, held.columns if tally else None, total),
            ),
            **(
                {"columns": _columns_compared(declared, lake.cells.columns, sink, held.columns)}
                if lake.cells and tally
                else {}
            ),
        },
    )


def _tally(declared: Table, held: ColumnTallies, lake: LakeEntry) -> Tally | None:
    """Return the rows that a table has, of the lake's total; None where it lacks the month."""
    if declared.partitioned_by is None:
        without_pickup = 0
    elif held.rows == 0 and lake.kept and lake.kept.rows:
        return None
    else:
        without_pickup = held.columns[declared.partitioned_by][NULLS] or 0
    return Tally(held.rows, lake.kept.cents if lake.kept else None, without_pickup)


def _shortened(problems: Sequence[str]) -> list[str]:
    more = len(problems) - _SENTENCES
    return [*problems[:_SENTENCES], *([f"And {more} more columns."] if more > 0 else [])]


def _columns_compared(
    declared: Table, lake: ColumnTallies, sink: Sink, held: ColumnTallies
) -> dg.TableMetadataValue:
    """Return the figures of all columns side by side, the differing ones first."""
    rows: list[dict[str, str | float | None]] = [
        {
            "column": column.name,
            "figure": figure,
            "lake": as_text(column, figure, lake.columns[column.name][figure]),
            sink.title: as_text(column, figure, held.columns[column.name][figure]),
            "equal": lake.columns[column.name][figure] == held.columns[column.name][figure],
        }
        for column in declared.columns
        for figure in figures_of(column)
    ]
    rows.sort(key=lambda row: bool(row["equal"]))
    kinds = {**dict.fromkeys(("column", "figure", "lake", sink.title), "string"), "equal": "bool"}
    return table(kinds, rows)


def _figures(
    declared: Table, tallies: ColumnTallies | None, total: str | None
) -> dict[str, float | None]:
    if tallies is None:
        return {}
    figures: dict[str, float | None] = {"rows": tallies.rows}
    if total:
        figures[total] = (tallies.columns[total][SUM] or 0) / declared[total].parts
    return figures
