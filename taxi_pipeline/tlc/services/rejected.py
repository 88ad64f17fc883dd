"""The columns of rejected rows, beside those that were published."""

import pyarrow as pa

from taxi_pipeline.tlc.services.model import TEXT, Column

REJECTED_COLUMNS = (
    Column("line", TEXT, "A CSV line that does not parse: all of it, or its first MiB."),
    Column("number", pa.int64(), "The row's number in the file, from 1; in a CSV the line's."),
    Column("rejected_because", TEXT, "The name of the first rule that rejects the row."),
    Column("problem", TEXT, "What did not parse."),
)
