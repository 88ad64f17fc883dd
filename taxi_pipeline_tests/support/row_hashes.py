"""The hashes of whole rows, as cleaning makes them column by column."""

import numpy as np
import pyarrow as pa

from taxi_pipeline.tlc.duplicates import Hashes, mix_in


def row_hashes(rows: pa.RecordBatch) -> Hashes:
    """Hash each row, its texts as the dictionaries that they are while they are cleaned."""
    hashes = np.zeros(len(rows), np.uint64)
    for values in rows.columns:
        mix_in(hashes, values.dictionary_encode() if pa.types.is_string(values.type) else values)
    return hashes
