"""The ways from a published file to Parquet: ours, the old scripts', and floors below them.

Other libraries' are in `peers`. All write to the local disk what the lake would get; the upload,
which is the same for all, is in none. Each runs in a process of its own, without Dagster as the
peers' are: `python -m benchmarks.cleaning NAME FILE`.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from benchmarks.inputs import BY_NAME, Published, prepared, written
from benchmarks.measuring import Took, measured
from taxi_pipeline.tlc.month import Month

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

type Step = Callable[[], int]


def clean_ours(file: Published) -> Step:
    """Trips and rejected rows, with reasons, oddities, undeclared codes and duplicates counted."""
    from taxi_pipeline.tlc.cleaning import clean_trips
    from taxi_pipeline.tlc.reading import open_published

    def step() -> int:
        source = open_published(file.path, file.service.trips)
        return clean_trips(
            file.month, source, written("kept.parquet"), written("rejected.parquet")
        ).kept

    return step


def examine_and_clean_ours(file: Published) -> Step:
    """What raw does before it stores a file, its decoding and counting, and then the cleaning."""
    from taxi_pipeline.tlc.reading import examine

    clean = clean_ours(file)

    def step() -> int:
        examine(file.path, 5)
        return clean()

    return step


def clean_pandas(file: Published) -> Step:
    """As the old scripts: all at once in memory, and gzip; what is rejected goes nowhere."""
    import pandas as pd

    def step() -> int:
        trips = trips_of(file.month, pd.read_csv(file.path, low_memory=False))
        trips.to_parquet(written("kept.parquet"), compression="gzip")
        return len(trips)

    return step


def trips_of(month: Month, frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows of a published file of yellow that are trips of the month."""
    import pandas as pd

    pickup = pd.to_datetime(frame["tpep_pickup_datetime"])
    dropoff = pd.to_datetime(frame["tpep_dropoff_datetime"])
    frame = frame.assign(tpep_pickup_datetime=pickup, tpep_dropoff_datetime=dropoff)
    in_month = (pickup >= month.start) & (pickup < month.end)
    return frame[in_month & (dropoff >= pickup) & (frame["passenger_count"] != 0)]


def parse_alone(file: Published) -> Step:
    """Gunzip and parse by Arrow's streaming reader; the rows go nowhere, and none is rejected."""
    import pyarrow.csv as pacsv

    def step() -> int:
        return sum(map(len, pacsv.open_csv(file.path)))

    return step


def encode_alone(file: Published) -> Step:
    """Write the prepared trips as Parquet, from Arrow's own format in mapped memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def step() -> int:
        trips = pa.ipc.open_file(pa.memory_map(str(prepared("trips.arrow")))).read_all()
        pq.write_table(trips, written("kept.parquet"), compression="zstd")
        return len(trips)

    return step


def decode_alone(file: Published) -> Step:
    """Decode all of the Parquet by Arrow; the rows go nowhere, and none is rejected."""
    import pyarrow.parquet as pq

    def step() -> int:
        with pq.ParquetFile(file.path) as source:
            return sum(map(len, source.iter_batches()))

    return step


def reencode_alone(file: Published) -> Step:
    """Decode the Parquet and write it anew as ours does, a thread for each; none is rejected."""
    from concurrent.futures import Future, ThreadPoolExecutor

    import pyarrow as pa
    import pyarrow.parquet as pq

    from taxi_pipeline.tlc.cleaning import ROW_GROUP_ROWS

    def step() -> int:
        rows = 0
        with (
            pq.ParquetFile(file.path) as source,
            _writer(source.schema_arrow) as writer,
            ThreadPoolExecutor(1) as pool,
        ):
            writing: Future[None] | None = None
            for batch in source.iter_batches(ROW_GROUP_ROWS):
                if writing:
                    writing.result()
                writing = pool.submit(writer.write_table, pa.Table.from_batches([batch]))
                rows += len(batch)
        return rows

    return step


def _writer(schema: "pa.Schema") -> "pq.ParquetWriter":
    import pyarrow as pa
    import pyarrow.parquet as pq

    repetitive = [field.name for field in schema if not pa.types.is_timestamp(field.type)]
    return pq.ParquetWriter(
        written("kept.parquet"), schema, compression="zstd", use_dictionary=repetitive
    )


WAYS: dict[str, Callable[[Published], Step]] = {
    way.__name__: way
    for way in (
        clean_ours,
        examine_and_clean_ours,
        clean_pandas,
        parse_alone,
        encode_alone,
        decode_alone,
        reencode_alone,
    )
}


@click.command()
@click.argument("name", type=click.Choice(sorted(WAYS)))
@click.argument("file", type=click.Choice(sorted(BY_NAME)))
def main(name: str, file: str) -> None:
    """Do a step in one way; print the trips, and seconds, CPU's too, and peak bytes."""
    step = WAYS[name](BY_NAME[file])
    took: Took = defaultdict(list)
    with measured(name, took):
        rows = step()
    click.echo(json.dumps({"rows": rows, "took": took}))


if __name__ == "__main__":
    main()
