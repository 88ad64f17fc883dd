"""The columns of rejected rows, beside those that were published."""

from taxi_pipeline.tlc.services.model import LONG, TEXT, Column

REJECTED_COLUMNS = (
    Column("line", TEXT, "A CSV line that does not parse: all of it, or its first MiB."),
    Column("number", LONG, "The row's number in the file, from 1; in a CSV the line's."),
    Column("rejected_because", TEXT, "The name of the first rule that rejects the row."),
    Column("problem", TEXT, "What did not parse."),
)
