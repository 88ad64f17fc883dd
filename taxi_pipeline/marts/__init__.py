"""The marts: tables that BigQuery computes from the tables of trips, a month at a time.

A mart is one SQL file here, whose header declares the table. Nothing here runs a query, or knows
Dagster.
"""

from pathlib import Path

from taxi_pipeline.marts.mart import Mart

DAILY_TRIPS = Mart.read(Path(__file__).with_name("daily_trips.sql"))

MARTS = (DAILY_TRIPS,)

__all__ = ["DAILY_TRIPS", "MARTS", "Mart"]
