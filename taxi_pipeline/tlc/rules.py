"""The rules of cleaning: which rows are no trips, and what is odd among those that are.

A new rule is one entry in `RULES`: its action says what becomes of a row for which it holds. How
rules are applied is `cleaning`'s.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import DATETIME, INTEGER, Table

_LAST_PLACE = 263  # zones 264 and 265 are no places


@dataclass(frozen=True)
class Action:
    """What becomes of a row for which a rule holds.

    Attributes:
        rejects: Whether the row is rejected; else it is kept, and counted.
        warns_above: The share of the kept rows above which the month's check of the rule's name
            warns, from 0 to 1; None for a rule without a check.
    """

    rejects: bool
    warns_above: float | None = None


REJECT = Action(rejects=True)
NOTE = Action(rejects=False)


def warn_above(share: float) -> Action:
    """Return the action that keeps and counts a row, and warns where more rows are such."""
    return Action(rejects=False, warns_above=share)


@dataclass(frozen=True)
class Rule:
    """A named predicate over the columns that it reads.

    Attributes:
        name: The reason of a rejection, or the name of an oddity.
        description: What holds of the row, in a sentence.
        reads: The columns; the rule applies to tables that have them all.
        action: What becomes of the row.
        holds: Maps a batch of canonical rows and the month to booleans; null counts as false.
    """

    name: str
    description: str
    reads: tuple[str, ...]
    action: Action
    holds: "_Holds"

    def applies_to(self, table: Table) -> bool:
        """Whether the table has every column that the rule reads."""
        return set(self.reads) <= {column.name for column in table.columns}


type _Holds = Callable[[pa.RecordBatch, Month], pa.BooleanArray]


def _is_null(column: str) -> _Holds:
    return lambda rows, _: rows[column].is_null()


def _is_zero(column: str) -> _Holds:
    def holds(rows: pa.RecordBatch, _: Month) -> pa.BooleanArray:
        import pyarrow.compute as pc

        return pc.equal(rows[column], pa.scalar(0, rows[column].type))

    return holds


def _is_negative(column: str) -> _Holds:
    def holds(rows: pa.RecordBatch, _: Month) -> pa.BooleanArray:
        import pyarrow.compute as pc

        return pc.less(rows[column], pa.scalar(0.0))

    return holds


def _is_outside(rows: pa.RecordBatch, month: Month) -> pa.BooleanArray:
    import pyarrow.compute as pc

    pickup = rows["pickup_datetime"]
    return pc.or_(
        pc.less(pickup, pa.scalar(month.start, DATETIME)),
        pc.greater_equal(pickup, pa.scalar(month.end, DATETIME)),
    )


def _ends_before_it_begins(rows: pa.RecordBatch, _: Month) -> pa.BooleanArray:
    import pyarrow.compute as pc

    return pc.less(rows["dropoff_datetime"], rows["pickup_datetime"])


def _is_nowhere(rows: pa.RecordBatch, _: Month) -> pa.BooleanArray:
    import pyarrow.compute as pc

    def is_no_place(location: pa.Array) -> pa.BooleanArray:
        return pc.or_(
            pc.less(location, pa.scalar(1, INTEGER)),
            pc.greater(location, pa.scalar(_LAST_PLACE, INTEGER)),
        )

    return pc.or_kleene(
        is_no_place(rows["pickup_location_id"]), is_no_place(rows["dropoff_location_id"])
    )


def _negative_fares(fare: str) -> Rule:
    return Rule(
        "negative_fares",
        "The fare is negative: nearly always the reversal of a positive twin.",
        (fare,),
        warn_above(0.05),  # at most 1.3 % of any month that was looked at, 2018 to 2025
        _is_negative(fare),
    )


def _zero_distance(distance: str) -> Rule:
    return Rule("zero_distance", "No distance was measured.", (distance,), NOTE, _is_zero(distance))


# In this order: the first that rejects a row names the rejection.
RULES = (
    Rule(
        "pickup_missing",
        "There is no pick-up time, so the row belongs to no month.",
        ("pickup_datetime",),
        REJECT,
        _is_null("pickup_datetime"),
    ),
    Rule(
        "pickup_outside_month",
        "The pick-up is not in the month that the file was published for.",
        ("pickup_datetime",),
        REJECT,
        _is_outside,
    ),
    Rule(
        "dropoff_before_pickup",
        "The drop-off is earlier than the pick-up.",
        ("pickup_datetime", "dropoff_datetime"),
        REJECT,
        _ends_before_it_begins,
    ),
    Rule(
        "no_passengers",
        "The driver entered exactly 0 passengers; a null is kept.",
        ("passenger_count",),
        REJECT,
        _is_zero("passenger_count"),
    ),
    Rule(
        "null_passengers",
        "No passenger count was entered.",
        ("passenger_count",),
        NOTE,
        _is_null("passenger_count"),
    ),
    _negative_fares("fare_amount"),
    _negative_fares("base_passenger_fare"),
    _zero_distance("trip_distance"),
    _zero_distance("trip_miles"),
    Rule(
        "unknown_zones",
        "The pick-up or the drop-off is in zone 264 or 265, or in none of TLC's at all.",
        ("pickup_location_id", "dropoff_location_id"),
        NOTE,
        _is_nowhere,
    ),
)


def rules_for(table: Table) -> tuple[Rule, ...]:
    """Return the rules that apply to a table, in their order."""
    return tuple(rule for rule in RULES if rule.applies_to(table))
