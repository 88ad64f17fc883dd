"""The lake: which objects a published file leaves there, what they say, and what they replace.

    raw/yellow/yellow_tripdata_2021-01.csv.gz                        the published file
    cleaned/yellow/yellow_tripdata_2021-01.parquet                   its trips
    rejected/yellow/yellow_tripdata_2021-01.0123456789abcdef.parquet its rejected rows

Trips and rejected rows change in one step: the rejected rows have their SHA-256 in their name, and
the trips' object names those that belong to it. Nothing here knows Dagster's assets; how objects
travel is `resources.gcs`'s.
"""
