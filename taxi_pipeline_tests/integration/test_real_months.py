"""Real records through the real jobs, against an independent count by pandas."""

import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.lake.raw import REPLACE_RAW
from taxi_pipeline.ledger import Depth, read_unpartitioned
from taxi_pipeline.local.publisher import application
from taxi_pipeline.tlc.services import TAXI_ZONE_SHAPES
from taxi_pipeline_tests.conftest import Platform, with_publisher
from taxi_pipeline_tests.support.http import serving_application
from taxi_pipeline_tests.support.real_files import REAL_FILES, with_real_files

GREEN_CSV = "releases/green/green_tripdata_{}.csv.gz"
GREEN_PARQUET = "trip-data/green_tripdata_{}.parquet"
YELLOW_CSV = "releases/yellow/yellow_tripdata_{}.csv.gz"


def counted_by_pandas(path: Path, month: str) -> tuple[int, int, Counter[str]]:
    """Return published and kept rows, and the rejected by reason, without our code."""
    frame = (
        pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, low_memory=False)
    )
    frame = frame.rename(columns=lambda name: name.strip().lower())
    pickup, dropoff = (
        pd.to_datetime(frame[next(c for c in frame.columns if c.endswith(f"{which}_datetime"))])
        for which in ("pickup", "dropoff")
    )
    reason = pd.Series("", index=frame.index)
    reason[frame["passenger_count"] == 0] = "no_passengers"
    reason[dropoff < pickup] = "dropoff_before_pickup"
    reason[pickup.dt.strftime("%Y-%m") != month] = "pickup_outside_month"
    reason[pickup.isna()] = "pickup_missing"
    rejected = Counter(reason[reason != ""])
    return len(frame), int((reason == "").sum()), rejected


RECONCILED = [
    ("green", "2020-04", GREEN_CSV, 35_612),
    ("green", "2023-01", GREEN_PARQUET, 68_211),
    ("green", "2024-10", GREEN_PARQUET, 56_147),
    ("green", "2025-10", GREEN_PARQUET, 49_416),
    ("yellow", "2019-01", YELLOW_CSV, 10_000),
    ("yellow", "2020-05", YELLOW_CSV, 10_000),
]


@pytest.mark.parametrize(("service", "month", "template", "rows"), RECONCILED)
def test_a_real_month_reconciles_in_all_three_stores(
    real_platform: Platform, service: str, month: str, template: str, rows: int
) -> None:
    published, kept, rejected = counted_by_pandas(REAL_FILES / template.format(month), month)
    assert published == rows
    assert real_platform.run(f"{service}_trips", month).success
    entry = real_platform.entry(service, month)
    lake = entry.lake
    assert lake.kept is not None
    assert (lake.published, lake.kept.rows, lake.rejected) == (published, kept, rejected)
    assert {*entry.tables.values()} == {lake.kept}
    assert entry.adds_up


def test_the_real_zones_land(real_platform: Platform) -> None:
    assert real_platform.run("taxi_zones").success
    expected = pd.read_csv(REAL_FILES / "misc/taxi_zone_lookup.csv", keep_default_na=False)
    rows = real_platform.postgres("SELECT * FROM tlc.taxi_zones ORDER BY location_id")
    assert rows == list(expected.itertuples(index=False, name=None))
    assert real_platform.bigquery("SELECT * FROM taxi_zones ORDER BY location_id") == rows


def test_the_real_shapes_of_the_zones_land(real_platform: Platform) -> None:
    assert real_platform.run("taxi_zone_shapes").success
    (entry,) = read_unpartitioned(TAXI_ZONE_SHAPES, real_platform.resources, Depth.PUBLISHED)
    assert entry.problems == []
    assert entry.lake.kept is not None
    assert (entry.lake.published, entry.lake.kept.rows) == (263, 263)
    ((shapes, square_metres),) = real_platform.bigquery(
        "SELECT COUNT(*), SUM(ST_AREA(geography)) FROM taxi_zone_shapes_geography"
    )
    assert shapes == 263
    assert square_metres / 1e6 == pytest.approx(793, rel=0.01)


MONTHS = sorted(
    path
    for folder in ("heads/*", "samples", "releases/*", "trip-data")
    for path in REAL_FILES.glob(f"{folder}/*_tripdata_????-??.*")
)


def header_of(path: Path) -> tuple[str, str]:
    """Return a file's service, and its columns as it has them, with their types in Parquet."""
    service = path.name.partition("_")[0]
    if path.suffix == ".parquet":
        return service, str(pq.read_schema(path))
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return service, file.readline().decode()


def by_header(paths: list[Path]) -> Iterator[object]:
    """Mark all files as long but the first of each header that no reconciled month has.

    The unit tests clean them all and compare each cell.
    """
    reconciled = [REAL_FILES / template.format(month) for _, month, template, _ in RECONCILED]
    seen = {header_of(path) for path in reconciled if path in paths}
    for path in paths:
        header = header_of(path)
        name = f"{path.parts[-2]}-{path.name}"
        yield pytest.param(path, id=name, marks=[pytest.mark.long] if header in seen else [])
        seen.add(header)


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A publisher of a folder that is still empty."""
    folder = tmp_path_factory.mktemp("published")
    with serving_application(application(folder, None)) as base:
        yield folder, base


@with_real_files
@pytest.mark.parametrize("path", [*by_header(MONTHS)])
def test_every_real_month_adds_up(
    platform: Platform, publisher: tuple[Path, str], path: Path
) -> None:
    folder, base = publisher
    service, month = path.name[: path.name.index(".")].split("_tripdata_")
    content = path.read_bytes()
    if path.suffix == ".parquet":
        rows, to = pq.read_metadata(path).num_rows, folder / f"trip-data/{path.name}"
    else:
        content = content if path.suffix == ".gz" else gzip.compress(content)
        rows = sum(1 for line in gzip.decompress(content).splitlines() if line.strip()) - 1
        to = folder / f"releases/{service}/{service}_tripdata_{month}.csv.gz"
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(content)
    # some months are there twice, of another publisher each
    anew = {REPLACE_RAW: "true"}
    assert with_publisher(platform, base).run(f"{service}_trips", month, tags=anew).success
    entry = platform.entry(service, month)
    assert entry.lake.published == rows
    assert entry.adds_up
    to.unlink()
