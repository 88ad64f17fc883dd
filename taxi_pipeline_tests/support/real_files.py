"""TLC's real records, which lie beside a checkout and are never committed."""

from pathlib import Path

import pytest

REAL_FILES = Path(__file__).parents[3] / "shared" / "tlc"
NOT_THERE = f"TLC's real records are not at {REAL_FILES}"

with_real_files = pytest.mark.skipif(not REAL_FILES.is_dir(), reason=NOT_THERE)
