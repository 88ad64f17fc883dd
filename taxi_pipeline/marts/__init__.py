"""What is computed from the published tables: marts in BigQuery, and a view in every store.

Each is one SQL file here, whose header declares its columns. Nothing here runs a query, or knows
Dagster.
"""

from pathlib import Path

from taxi_pipeline.marts.mart import Mart
from taxi_pipeline.marts.view import View

_HERE = Path(__file__).parent

DAILY_TRIPS = Mart.read(_HERE / "daily_trips.sql")
MONTHLY_ZONE_REVENUE = Mart.read(_HERE / "monthly_zone_revenue.sql")

MARTS = (DAILY_TRIPS, MONTHLY_ZONE_REVENUE)

TRIPS = View.read(_HERE / "trips.sql")

__all__ = ["DAILY_TRIPS", "MARTS", "MONTHLY_ZONE_REVENUE", "TRIPS", "Mart", "View"]
