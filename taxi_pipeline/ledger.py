"""The ledger: the counts that must add up, month by month, recomputed from the stores themselves.

published = trips + rejected, and trips = BigQuery = PostgreSQL. It asks the lake's objects and the
tables, never Dagster's memory; how it is shown is for who asks.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from taxi_pipeline.resources.environment import Resources
from taxi_pipeline.resources.lake import Lake, LakeObject, place_of
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service


@dataclass(frozen=True)
class Entry:
    """One service and month. A count is None where the store does not have the month."""

    service: str
    month: Month
    published: int | None
    kept: int | None
    rejected: Counter[str]
    bigquery: int | None
    postgres: int | None

    @property
    def adds_up(self) -> bool:
        """Whether every published row is accounted for in every store."""
        return (
            self.published is not None
            and self.kept is not None
            and self.published == self.kept + self.rejected.total()
            and self.kept == self.bigquery == self.postgres
        )


def read_ledger(service: Service, stores: Resources) -> list[Entry]:
    """Return the entries of all months of a service that any store has, oldest first."""
    raw = _by_month(service, stores.lake.find(f"raw/{service.name}/"))
    cleaned = _by_month(service, stores.lake.find(f"cleaned/{service.name}/"))
    in_bigquery = stores.warehouse.rows_by_month(service.trips)
    in_postgres = stores.database.rows_by_month(service.trips)
    entries = []
    for month in sorted(raw.keys() | cleaned.keys() | in_bigquery.keys() | in_postgres.keys()):
        kept, rejected = None, Counter[str]()
        if month in cleaned:
            kept, rejected = _counted(stores.lake, service, month)
        published = raw[month].metadata.get("rows") if month in raw else None
        nothing = 0 if kept == 0 else None  # an empty month leaves no row to count
        entries.append(
            Entry(
                service=service.name,
                month=month,
                published=None if published is None else int(published),
                kept=kept,
                rejected=rejected,
                bigquery=in_bigquery.get(month, nothing),
                postgres=in_postgres.get(month, nothing),
            )
        )
    return entries


def _by_month(service: Service, objects: Iterable[LakeObject]) -> dict[Month, LakeObject]:
    """Return the newest object of each month; other objects in the folder are none of ours."""
    found: dict[Month, LakeObject] = {}
    for item in objects:
        stem, _, rest = item.name.rpartition("/")[2].partition("_tripdata_")
        key = rest.partition(".")[0]
        if stem == service.name and Month.is_key(key):
            found.setdefault(Month.parse(key), item)
    return found


def _counted(lake: Lake, service: Service, month: Month) -> tuple[int, Counter[str]]:
    """Count the trips by their file's footer and the rejected rows by their reasons."""
    import pyarrow.parquet as pq

    from taxi_pipeline.tlc.cleaning import REJECTED_BECAUSE

    place = place_of(service, month)
    with lake.opened(place.cleaned) as file:
        kept = int(pq.read_metadata(file).num_rows)
    with lake.opened(place.rejected) as file:
        reasons = pq.read_table(file, columns=[REJECTED_BECAUSE])[REJECTED_BECAUSE]
    return kept, Counter(reasons.to_pylist())
