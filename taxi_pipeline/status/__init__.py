"""The status: every month of every service, in one word each, and what to do next.

It is read from what the lake's objects say of themselves and from what the sinks say that they
have loaded: one listing a folder and one query a table, however many months there are. No row is
counted again; that is the ledger's. What Dagster knows comes as a value (`Facts`), so that an asset
can ask for the status, too. `view` shows it to people and programs, `page` as a web page.
"""

from taxi_pipeline.status.facts import Facts
from taxi_pipeline.status.months import Figures, MonthStatus, State
from taxi_pipeline.status.reading import Status, read_status
from taxi_pipeline.status.steps import Step, next_steps
from taxi_pipeline.status.totals import Totals

__all__ = [
    "Facts",
    "Figures",
    "MonthStatus",
    "State",
    "Status",
    "Step",
    "Totals",
    "next_steps",
    "read_status",
]
