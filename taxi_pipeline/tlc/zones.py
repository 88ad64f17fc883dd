"""The taxi zones that there are. What is known of each is published, and for others to keep."""

from collections import Counter
from collections.abc import Sequence

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.reading import SourceFile

# By every taxi_zone_lookup.csv that TLC has published: from 1, Newark Airport, to 263 places of New
# York's, then 264, Unknown, and 265, Outside of NYC.
ZONE_IDS = range(1, 266)

# What TLC has drawn: 264 and 265 are no place, and the shapes of these three's names have the ids
# 56 and 103.
SHAPE_IDS = tuple(zone for zone in range(1, 264) if zone not in (57, 104, 105))

_NAMED = 20


def ensure_all_zones(source: SourceFile) -> None:
    """Check that a published table of zones has each of TLC's ids, `ZONE_IDS`, once.

    A line that does not parse counts for none.

    Raises:
        PermanentError: An id is missing, there more than once or unknown, or the file is broken.
    """
    ids: Counter[int | None] = Counter()
    for parsed in source.each(
        lambda batch: batch.rows["location_id"].filter(batch.problems.is_null())
    ):
        ids.update(parsed.to_pylist())
    wrong: dict[str, Sequence[int | None]] = {
        "missing": [zone for zone in ZONE_IDS if zone not in ids],
        "more than once": [zone for zone in ZONE_IDS if ids[zone] > 1],
        "unknown": [zone for zone in ids if zone not in ZONE_IDS],
    }
    if any(wrong.values()):
        problems = "; ".join(f"{what}: {_listed(zones)}" for what, zones in wrong.items() if zones)
        raise PermanentError(
            f"{source.path.name} does not have TLC's zones, the ids 1 to {ZONE_IDS[-1]}, each "
            f"once: {problems}. Nothing was replaced. If TLC has other zones now, declare their "
            "ids in tlc/zones.py."
        )


def ensure_all_shapes(source: SourceFile) -> None:
    """Check that a published shapefile has each zone that TLC has drawn, `SHAPE_IDS`.

    A zone whose shape is broken is there, as long as most shapes are not: it is rejected by itself.

    Raises:
        PermanentError: An id is missing, most shapes cannot be read, or the file is broken.
    """
    ids: set[int | None] = set()
    rows, problems = 0, list[str]()
    for found, broken in source.each(
        lambda batch: (batch.rows["location_id"], batch.problems.drop_null())
    ):
        ids.update(found.to_pylist())
        problems += broken.to_pylist()
        rows += len(found)
    if missing := [zone for zone in SHAPE_IDS if zone not in ids]:
        raise PermanentError(
            f"{source.path.name} does not have the shapes of TLC's zones; missing: "
            f"{_listed(missing)}. Nothing was replaced. If TLC has other zones now, declare their "
            "ids in tlc/zones.py."
        )
    if 2 * len(problems) > rows:
        raise PermanentError(
            f"{source.path.name}: {len(problems)} of its {rows} shapes cannot be read, the first "
            f"for this: {problems[0]}. Nothing was replaced. Check what the publisher serves at "
            "its address."
        )


def _listed(zones: Sequence[int | None]) -> str:
    shown = ", ".join("none" if zone is None else str(zone) for zone in zones[:_NAMED])
    return shown + (f" and {len(zones) - _NAMED} more" if len(zones) > _NAMED else "")
