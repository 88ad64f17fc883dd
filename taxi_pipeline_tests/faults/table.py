"""The faults as a table in Markdown, as declared or with what came of them.

`python -m taxi_pipeline_tests.faults.table` prints what the documentation has.
"""

from collections.abc import Mapping

from taxi_pipeline_tests.faults.faults import FAULTS, Fault
from taxi_pipeline_tests.faults.scene import STORES

_STORES = ("raw file", "trips, rejected", "BigQuery", "PostgreSQL")
_LEFT = {"scratch": "a scratch folder", "rejected": "rejected rows that no trips name"}


def table(found: Mapping[str, str] | None = None) -> str:
    """Return the declared faults; with what was `found`, by name, of each also that."""
    head = ["what breaks", "the run", *_STORES, "left to the next run"]
    rows = [_row(fault) for fault in FAULTS]
    if found is not None:
        head.append("held true")
        rows = [
            [*row, found.get(fault.name, "**not run**")]
            for fault, row in zip(FAULTS, rows, strict=True)
        ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(fault: Fault) -> list[str]:
    return [
        fault.words,
        "ends well" if fault.ends_well else "fails",
        *(fault.held[store] for store in STORES),
        ", ".join(_LEFT[left] for left in sorted(fault.leaves)) or "nothing",
    ]


if __name__ == "__main__":
    print(table())  # noqa: T201
