"""TLC's own months in the embedded stack: `taxi local --publisher tlc`, by its real addresses.

No test reaches the internet: a proxy on loopback is TLC and the mirror of its CSVs.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from taxi_pipeline.local import generator
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV, GREEN, YELLOW
from taxi_pipeline_tests.support.internet import ASSETS, CLOUDFRONT, GITHUB, Internet, internet
from taxi_pipeline_tests.support.processes import killed_leftovers, run_with_family

REPOSITORY = Path(__file__).parents[2]
TAXI = [sys.executable, "-m", "taxi_pipeline"]
ROWS = 700
MIRROR = f"https://{GITHUB}/DataTalksClub/nyc-tlc-data/releases/download"
JANUARY, FEBRUARY = Month(2021, 1), Month(2021, 2)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with TemporaryDirectory(prefix="taxi-") as name:
        yield Path(name)
        assert killed_leftovers(Path(name)) == []


@pytest.fixture(scope="module")
def outside(home: Path) -> Iterator[Internet]:
    mirrored, published = home / "mirrored", home / "published"
    for service, month in ((GREEN, JANUARY), (GREEN, FEBRUARY), (YELLOW, JANUARY)):
        path = mirrored / service.name / f"{service.name}_tripdata_{month}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        generator.write_csv_gz(service, month, ROWS, path)
    for folder in ("trip-data", "misc"):
        (published / folder).mkdir(parents=True)
    fhv = published / "trip-data" / "fhv_tripdata_2021-01.parquet"
    generator.write_parquet(FHV, JANUARY, ROWS, fhv)
    generator.write_zones(published / "misc" / "taxi_zone_lookup.csv")
    generator.write_zone_shapes(published / "misc" / "taxi_zones.zip")
    with internet(mirrored, published, home) as servers:
        yield servers


_AGAIN = ["dagster", "job", "execute", "-m", "taxi_pipeline.definitions", "-j", "green_trips"]
_MONTH = ["--tags", '{"dagster/partition": "2021-01"}']
_SCRIPT = f"taxi demo && {shlex.join(_AGAIN + _MONTH)} && echo === && taxi ledger --json"


@pytest.fixture(scope="module")
def demo(home: Path, outside: Internet) -> subprocess.CompletedProcess[str]:
    """Return the demo, a month run again, and the ledger, in a stack that asks TLC."""
    return run_with_family(
        [*TAXI, "local", "--publisher", "tlc", "sh", "-c", _SCRIPT],
        cwd=home,
        # the environment's own commands are found without it
        env={**os.environ, **outside.variables, "PATH": os.defpath},
    )


def test_the_demo_of_real_months_adds_up(
    home: Path, demo: subprocess.CompletedProcess[str]
) -> None:
    assert demo.returncode == 0, demo.stderr
    shown, _, ledger = demo.stdout.partition("===\n")
    assert shown.count("yes") == 6  # of four months, the zones and their shapes
    months = {(entry["service"], entry["month"]): entry for entry in json.loads(ledger)}
    assert {key for key in months if key[1]} == {
        *(("green", "2021-01"), ("green", "2021-02"), ("yellow", "2021-01"), ("fhv", "2021-01")),
    }
    for (service, month), entry in months.items():
        assert entry["adds_up"], (service, month)
        assert month is None or entry["published"] == ROWS
    assert (home / ".taxi-tlc").is_dir()  # beside the generated months of .taxi


def test_what_is_fetched_is_said_before_with_its_bytes(
    home: Path, demo: subprocess.CompletedProcess[str]
) -> None:
    sizes = demo.stderr.partition("[1/")[0]
    files = [*(home / "mirrored").rglob("*.gz"), *(home / "published").rglob("*.parquet")]
    assert len(files) == 4
    for file in files:
        assert f": {file.stat().st_size / 1e6:,.1f} MB, https://" in sizes
        assert file.name in sizes
    assert f"{sum(file.stat().st_size for file in files) / 1e6:,.1f} MB in all" in sizes


def test_the_real_addresses_are_asked_and_each_file_comes_once(
    outside: Internet, demo: subprocess.CompletedProcess[str]
) -> None:
    green = f"{MIRROR}/green/green_tripdata_2021-01.csv.gz"
    signed = [asked for asked in outside.asked if f"{ASSETS}/" in asked and "green" in asked]
    assert [asked.split()[0] for asked in signed if "2021-01" in asked] == [
        *("HEAD", "GET"),  # looking: the signature is for GET alone
        *("GET", "GET"),  # fetching; and once more, by the ETag
    ]
    assert outside.asked.count(f"GET {green}") == 3
    fhv = f"https://{CLOUDFRONT}/trip-data/fhv_tripdata_2021-01.parquet"
    assert outside.asked.count(f"GET {fhv}") == outside.asked.count(f"HEAD {fhv}") == 1
    assert outside.asked.count(f"GET https://{CLOUDFRONT}/misc/taxi_zones.zip") == 1
    assert not [asked for asked in outside.asked if "fhvhv" in asked]
    assert not [asked for asked in outside.asked if asked.startswith("CONNECT")]
    assert "s3cr3t" not in demo.stdout + demo.stderr


def test_generated_months_and_those_of_tlc_are_not_mixed(
    home: Path, demo: subprocess.CompletedProcess[str]
) -> None:
    mixed = run_with_family([*TAXI, "local", "--data-dir", ".taxi-tlc", "true"], cwd=home)
    assert mixed.returncode == 1
    assert "keeps TLC's own months, among which generated months could not be told" in mixed.stderr
    assert "--data-dir" in mixed.stderr


@pytest.mark.parametrize("target", ["demo", "dev"])
def test_make_names_tlc_where_real_months_are_asked_for(target: str) -> None:
    for words, options in ((["REAL=1"], " --publisher tlc"), ([], ""), (["REAL=0"], "")):
        shown = subprocess.run(
            ["make", "--dry-run", target, *words],
            capture_output=True,
            text=True,
            check=True,
            cwd=REPOSITORY,
        )
        assert re.search(rf"^taxi local{options} +(taxi demo|dagster dev)", shown.stdout, re.M)
