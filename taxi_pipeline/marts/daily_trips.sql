/*
description = """
The services' trips a day, one row for each service and day with trips. It is computed in BigQuery \
from the tables of trips, and is there alone."""
grain = ["service", "day"]
partition = "day"
sources = ["yellow_trips", "green_trips", "fhv_trips", "fhvhv_trips"]

[columns.service]
type = "text"
meaning = "The service: yellow, green, fhv or fhvhv."

[columns.day]
type = "date"
meaning = "The day on which the trips began, by New York's wall clock."
from.yellow_trips = "pickup_datetime"
from.green_trips = "pickup_datetime"
from.fhv_trips = "pickup_datetime"
from.fhvhv_trips = "pickup_datetime"

[columns.trips]
type = "integer"
meaning = "How many trips began on the day."

[columns.revenue]
type = "number"
unit = "US dollars"
meaning = """
What the day's trips cost, to the cent: of yellow and green everything charged to the passengers \
but cash tips, of fhvhv the base fares alone. Null where no trip has an amount, as in all of fhv, \
which publishes none."""
from.yellow_trips = "total_amount"
from.green_trips = "total_amount"
from.fhvhv_trips = "base_passenger_fare"

[columns.median_distance]
type = "number"
unit = "miles"
meaning = """
The median of the distances of the day's trips, without those that have none. Null where no trip \
has a distance, as in all of fhv, which publishes none."""
from.yellow_trips = "trip_distance"
from.green_trips = "trip_distance"
from.fhvhv_trips = "trip_miles"

[columns.tips]
type = "number"
unit = "US dollars"
meaning = """
The tips of the day's trips, to the cent: of yellow and green those by credit card. Null where no \
trip has one, as in all of fhv, which publishes none, and in months that an earlier release computed."""
from.yellow_trips = "tip_amount"
from.green_trips = "tip_amount"
from.fhvhv_trips = "tips"

[columns.median_minutes]
type = "number"
unit = "minutes"
meaning = """
The median of the day's trips' times from pick-up to drop-off, without the trips that have no \
drop-off. Null where no trip has one, and in months that an earlier release computed."""
from.yellow_trips = "dropoff_datetime"
from.green_trips = "dropoff_datetime"
from.fhv_trips = "dropoff_datetime"
from.fhvhv_trips = "dropoff_datetime"
*/
WITH trips AS (
  SELECT
    'yellow' AS service,
    pickup_datetime,
    dropoff_datetime,
    total_amount AS total,
    tip_amount AS tip,
    trip_distance AS distance
  FROM yellow_trips
  WHERE pickup_datetime >= @start AND pickup_datetime < @end
  UNION ALL
  SELECT 'green', pickup_datetime, dropoff_datetime, total_amount, tip_amount, trip_distance
  FROM green_trips
  WHERE pickup_datetime >= @start AND pickup_datetime < @end
  UNION ALL
  SELECT
    'fhv',
    pickup_datetime,
    dropoff_datetime,
    CAST(NULL AS FLOAT64),
    CAST(NULL AS FLOAT64),
    CAST(NULL AS FLOAT64)
  FROM fhv_trips
  WHERE pickup_datetime >= @start AND pickup_datetime < @end
  UNION ALL
  SELECT 'fhvhv', pickup_datetime, dropoff_datetime, base_passenger_fare, tips, trip_miles
  FROM fhvhv_trips
  WHERE pickup_datetime >= @start AND pickup_datetime < @end
),

-- PERCENTILE_CONT is exact, where APPROX_QUANTILES is not. It comes as a window function only, so
-- each trip carries its day's medians. It leaves out nulls, and of nulls alone makes null.
with_medians AS (
  SELECT
    service,
    DATE(pickup_datetime) AS day,
    total,
    tip,
    PERCENTILE_CONT(distance, 0.5)
      OVER (PARTITION BY service, DATE(pickup_datetime)) AS median_distance,
    PERCENTILE_CONT(DATETIME_DIFF(dropoff_datetime, pickup_datetime, MICROSECOND) / 60000000, 0.5)
      OVER (PARTITION BY service, DATE(pickup_datetime)) AS median_minutes
  FROM trips
)

-- The amounts are summed up in whole cents, as in the ledger: the order of the rows is no matter.
SELECT
  service,
  day,
  COUNT(*) AS trips,
  SUM(CAST(FLOOR(total * 100 + 0.5) AS INT64)) / 100 AS revenue,
  ANY_VALUE(median_distance) AS median_distance,
  SUM(CAST(FLOOR(tip * 100 + 0.5) AS INT64)) / 100 AS tips,
  ANY_VALUE(median_minutes) AS median_minutes
FROM with_medians
GROUP BY service, day
