"""The libraries that a process of Dagster's imports, by which a server of processes is made warm.

Among them is no module of `taxi_pipeline`: what a process reads as it imports them is its own.
"""

LIBRARIES = (
    "dagster._cli",
    "dagster_gcp",
    "dagster_postgres",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "pgpq",
    "psycopg",
    "pyarrow.compute",
    "pyarrow.csv",
    "pyarrow.parquet",
)
# so that no library starts a thread when it is imported, which a fork would not copy
NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
