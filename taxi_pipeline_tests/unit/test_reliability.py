"""The tables of docs/reliability.md say what the code says."""

import re

from docs.tables import PAGE, with_tables
from taxi_pipeline.resources.postgres.errors import TRANSIENT_SQLSTATES
from taxi_pipeline_tests.faults.faults import FAULTS


def test_the_page_has_every_table_as_it_is_declared() -> None:
    page = PAGE.read_text()
    assert page == with_tables(page), "make docs writes them anew"


def test_no_table_is_empty() -> None:
    page = PAGE.read_text()
    assert sum(fault.words in page for fault in FAULTS) == len(FAULTS)
    assert all(f"`{state}`" in page for state in TRANSIENT_SQLSTATES)
    assert re.search(r"\| `TAXI_POSTGRES_LOCK_TIMEOUT` \| 60 s \| \w", page)
