"""Which zones there are."""

from pathlib import Path

import pytest

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.local.generator import write_zones
from taxi_pipeline.tlc.cleaning import clean_zones
from taxi_pipeline.tlc.reading import open_published
from taxi_pipeline.tlc.services import TAXI_ZONES
from taxi_pipeline.tlc.zones import ZONE_IDS, ensure_all_zones
from taxi_pipeline_tests.support.real_files import REAL_FILES, with_real_files


@with_real_files
@pytest.mark.parametrize("name", ["taxi_zone_lookup.csv", "taxi_zone_lookup_2019_2023.csv"])
def test_tlcs_own_files_have_them_all(name: str) -> None:
    ensure_all_zones(open_published(REAL_FILES / "misc" / name, TAXI_ZONES))


def test_the_cleaning_stops_where_one_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "taxi_zone_lookup.csv"
    write_zones(path)

    def clean() -> int:
        zones, rejected = tmp_path / "zones.parquet", tmp_path / "rejected.parquet"
        return clean_zones(open_published(path, TAXI_ZONES), zones, rejected).kept

    assert clean() == len(ZONE_IDS) == 265
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(PermanentError, match=r"each once: missing: 265\. Nothing was replaced\."):
        clean()
