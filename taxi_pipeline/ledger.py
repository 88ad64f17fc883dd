"""The ledger: the counts that must add up, month by month, asked of the stores themselves.

published = trips + rejected, and trips = BigQuery = PostgreSQL. The trips and the rejected rows are
counted in their Parquet files and in the tables; `published` is what was counted in the published
file, line by line, before it went into the lake. Dagster's memory is not asked. How a ledger is
shown is for who asks.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from taxi_pipeline.resources.environment import Resources
from taxi_pipeline.resources.lake import Lake, LakeObject
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service


@dataclass(frozen=True)
class Entry:
    """One service and month. A count is None where the store does not have the month.

    `of_this_raw` says whether the trips were cleaned from the raw object that is there now.
    """

    service: str
    month: Month
    published: int | None
    kept: int | None
    rejected: Counter[str]
    bigquery: int | None
    postgres: int | None
    of_this_raw: bool = True

    @property
    def adds_up(self) -> bool:
        """Whether every published row is accounted for in every store."""
        return (
            self.published is not None
            and self.kept is not None
            and self.published == self.kept + self.rejected.total()
            and self.kept == self.bigquery == self.postgres
            and self.of_this_raw
        )


def read_ledger(service: Service, stores: Resources) -> list[Entry]:
    """Return the entries of all months of a service that any store has, oldest first."""
    raw = _by_month(service, stores.lake.find(f"raw/{service.name}/"))
    cleaned = _by_month(service, stores.lake.find(f"cleaned/{service.name}/"))
    rejected = _by_month(service, stores.lake.find(f"rejected/{service.name}/"))
    in_bigquery = stores.warehouse.rows_by_month(service.trips)
    in_postgres = stores.database.rows_by_month(service.trips)
    entries = []
    for month in sorted(raw.keys() | cleaned.keys() | in_bigquery.keys() | in_postgres.keys()):
        source = raw[month].metadata if month in raw else {}
        trips = cleaned[month].metadata if month in cleaned else {}
        kept = _kept(stores.lake, cleaned[month].name) if month in cleaned else None
        nothing = 0 if kept == 0 else None  # an empty month leaves no row to count
        entries.append(
            Entry(
                service=service.name,
                month=month,
                published=int(source["rows"]) if "rows" in source else None,
                kept=kept,
                rejected=_reasons(stores.lake, rejected[month].name)
                if month in rejected
                else Counter(),
                bigquery=in_bigquery.get(month, nothing),
                postgres=in_postgres.get(month, nothing),
                of_this_raw=source.get("sha256") == trips.get("sha256"),
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


def _kept(lake: Lake, name: str) -> int:
    """Count a Parquet object's rows by its footer."""
    import pyarrow.parquet as pq

    with lake.opened(name) as file:
        return int(pq.read_metadata(file).num_rows)


def _reasons(lake: Lake, name: str) -> Counter[str]:
    """Count the rejected rows by their reason."""
    import pyarrow.parquet as pq

    from taxi_pipeline.tlc.cleaning import REJECTED_BECAUSE

    with lake.opened(name) as file:
        # not read_table: its threads may still hold the file when the process ends, and abort it
        reasons = pq.ParquetFile(file).read([REJECTED_BECAUSE], use_threads=False)
    return Counter(reasons[REJECTED_BECAUSE].to_pylist())
