/*
description = """
The services' trips a month by the zone where they began, one row for each service, month and zone \
with trips. It is computed in BigQuery from the tables of trips and of zones, and is there alone."""
grain = ["service", "month", "pickup_location_id"]
partition = "month"
sources = ["yellow_trips", "green_trips", "fhv_trips", "fhvhv_trips", "taxi_zones"]

[columns.service]
type = "text"
meaning = "The service: yellow, green, fhv or fhvhv."

[columns.month]
type = "date"
meaning = "The first day of the month in which the trips began, by New York's wall clock."
from.yellow_trips = "pickup_datetime"
from.green_trips = "pickup_datetime"
from.fhv_trips = "pickup_datetime"
from.fhvhv_trips = "pickup_datetime"

[columns.pickup_location_id]
type = "integer"
meaning = "The taxi zone where the trips began; null for those whose zone is not published."
from.yellow_trips = "pickup_location_id"
from.green_trips = "pickup_location_id"
from.fhv_trips = "pickup_location_id"
from.fhvhv_trips = "pickup_location_id"

[columns.pickup_zone]
type = "text"
meaning = "The zone's name, as it was when the month was computed."
from.taxi_zones = "zone"

[columns.pickup_borough]
type = "text"
meaning = "The zone's borough."
from.taxi_zones = "borough"

[columns.trips]
type = "integer"
meaning = "How many trips began there in the month."

[columns.revenue]
type = "number"
unit = "US dollars"
meaning = """
What the trips cost, to the cent: of yellow and green everything charged to the passengers but \
cash tips, of fhvhv the base fares alone. Null where no trip has an amount, as in all of fhv, \
which publishes none."""
from.yellow_trips = "total_amount"
from.green_trips = "total_amount"
from.fhvhv_trips = "base_passenger_fare"

[columns.tips]
type = "number"
unit = "US dollars"
meaning = """
The tips, to the cent: of yellow and green those by credit card. Null where no trip has one, as in \
all of fhv, which publishes none."""
from.yellow_trips = "tip_amount"
from.green_trips = "tip_amount"
from.fhvhv_trips = "tips"

[columns.median_distance]
type = "number"
unit = "miles"
meaning = "The median of the trips' distances, without those that have none."
from.yellow_trips = "trip_distance"
from.green_trips = "trip_distance"
from.fhvhv_trips = "trip_miles"

[columns.median_minutes]
type = "number"
unit = "minutes"
meaning = """
The median of the trips' times from pick-up to drop-off, without the trips that have no drop-off."""
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
    pickup_location_id,
    total_amount AS total,
    tip_amount AS tip,
    trip_distance AS distance
  FROM yellow_trips
  WHERE pickup_datetime >= @start AND pickup_datetime < @end
  UNION ALL
  SELECT
    'green',
    pickup_datetime,
    dropoff_datetime,
    pickup_location_id,
    total_amount,
    tip_amount,
    trip_distance
  FROM green_trips
  WHERE pickup_datetime >= @start AND pickup_datetime < @end
  UNION ALL
  SELECT
    'fhv',
    pickup_datetime,
    dropoff_datetime,
    pickup_location_id,
    CAST(NULL AS FLOAT64),
    CAST(NULL AS FLOAT64),
    CAST(NULL AS FLOAT64)
  FROM fhv_trips
  WHERE pickup_datetime >= @start AND pickup_datetime < @end
  UNION ALL
  SELECT
    'fhvhv',
    pickup_datetime,
    dropoff_datetime,
    pickup_location_id,
    base_passenger_fare,
    tips,
    trip_miles
  FROM fhvhv_trips
  WHERE pickup_datetime >= @start AND pickup_datetime < @end
),

-- as in daily_trips: exact medians come as a window function only
with_medians AS (
  SELECT
    service,
    pickup_location_id,
    total,
    tip,
    PERCENTILE_CONT(distance, 0.5)
      OVER (PARTITION BY service, pickup_location_id) AS median_distance,
    PERCENTILE_CONT(DATETIME_DIFF(dropoff_datetime, pickup_datetime, MICROSECOND) / 60000000, 0.5)
      OVER (PARTITION BY service, pickup_location_id) AS median_minutes
  FROM trips
),

by_zone AS (
  SELECT
    service,
    pickup_location_id,
    COUNT(*) AS trips,
    SUM(CAST(FLOOR(total * 100 + 0.5) AS INT64)) / 100 AS revenue,
    SUM(CAST(FLOOR(tip * 100 + 0.5) AS INT64)) / 100 AS tips,
    ANY_VALUE(median_distance) AS median_distance,
    ANY_VALUE(median_minutes) AS median_minutes
  FROM with_medians
  GROUP BY service, pickup_location_id
),

-- each id once, whatever somebody has put into the zones
zones AS (
  SELECT location_id, MIN(zone) AS zone, MIN(borough) AS borough
  FROM taxi_zones
  GROUP BY location_id
)

SELECT
  by_zone.service,
  DATE(@start) AS month,
  by_zone.pickup_location_id,
  zones.zone AS pickup_zone,
  zones.borough AS pickup_borough,
  by_zone.trips,
  by_zone.revenue,
  by_zone.tips,
  by_zone.median_distance,
  by_zone.median_minutes
FROM by_zone
LEFT JOIN zones ON zones.location_id = by_zone.pickup_location_id
