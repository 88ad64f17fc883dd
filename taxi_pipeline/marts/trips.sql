/*
description = """
The trips of all services in one form, with the names of the zones and the codes in words. A view, \
which has no rows of its own: a query that bounds pickup_datetime reads the months asked for alone."""
sources = ["yellow_trips", "green_trips", "fhv_trips", "fhvhv_trips", "taxi_zones"]

[words]
payment_in_words = "yellow_trips.payment_type"
service_in_words = "fhvhv_trips.hvfhs_license_num"

[columns.service]
type = "text"
meaning = "The service: yellow, green, fhv or fhvhv."

[columns.pickup_datetime]
type = "datetime"
meaning = "When the trip began, in New York's wall-clock time."
from.yellow_trips = "pickup_datetime"
from.green_trips = "pickup_datetime"
from.fhv_trips = "pickup_datetime"
from.fhvhv_trips = "pickup_datetime"

[columns.dropoff_datetime]
type = "datetime"
meaning = "When the trip ended, in New York's wall-clock time."
from.yellow_trips = "dropoff_datetime"
from.green_trips = "dropoff_datetime"
from.fhv_trips = "dropoff_datetime"
from.fhvhv_trips = "dropoff_datetime"

[columns.minutes]
type = "number"
unit = "minutes"
meaning = "The time from pick-up to drop-off, which is negative where the two were recorded so."
from.yellow_trips = "dropoff_datetime"
from.green_trips = "dropoff_datetime"
from.fhv_trips = "dropoff_datetime"
from.fhvhv_trips = "dropoff_datetime"

[columns.distance]
type = "number"
unit = "miles"
meaning = "How far the trip went; fhv publishes it of none."
from.yellow_trips = "trip_distance"
from.green_trips = "trip_distance"
from.fhvhv_trips = "trip_miles"

[columns.pickup_location_id]
type = "integer"
meaning = "Taxi zone of the pick-up."
from.yellow_trips = "pickup_location_id"
from.green_trips = "pickup_location_id"
from.fhv_trips = "pickup_location_id"
from.fhvhv_trips = "pickup_location_id"

[columns.pickup_zone]
type = "text"
meaning = "Name of the pick-up's zone."
from.taxi_zones = "zone"

[columns.pickup_borough]
type = "text"
meaning = "Borough of the pick-up's zone."
from.taxi_zones = "borough"

[columns.dropoff_location_id]
type = "integer"
meaning = "Taxi zone of the drop-off."
from.yellow_trips = "dropoff_location_id"
from.green_trips = "dropoff_location_id"
from.fhv_trips = "dropoff_location_id"
from.fhvhv_trips = "dropoff_location_id"

[columns.dropoff_zone]
type = "text"
meaning = "Name of the drop-off's zone."
from.taxi_zones = "zone"

[columns.dropoff_borough]
type = "text"
meaning = "Borough of the drop-off's zone."
from.taxi_zones = "borough"

[columns.payment]
type = "text"
meaning = "How the passenger paid, in words; published of yellow and green."
from.yellow_trips = "payment_type"
from.green_trips = "payment_type"

[columns.fare]
type = "number"
unit = "US dollars"
meaning = "The fare without tolls, tips, taxes and fees; fhv publishes it of none."
from.yellow_trips = "fare_amount"
from.green_trips = "fare_amount"
from.fhvhv_trips = "base_passenger_fare"

[columns.tip]
type = "number"
unit = "US dollars"
meaning = "The tip; of yellow and green by credit card alone."
from.yellow_trips = "tip_amount"
from.green_trips = "tip_amount"
from.fhvhv_trips = "tips"

[columns.total]
type = "number"
unit = "US dollars"
meaning = """
Everything charged to the passenger but cash tips. Of fhvhv it is the sum of the fare, tolls, \
taxes, fees and tips as far as they are published; the marts' revenue of fhvhv is the fares alone."""
from.yellow_trips = "total_amount"
from.green_trips = "total_amount"
from.fhvhv_trips = "base_passenger_fare"

[columns.dispatching_base_num]
type = "text"
meaning = "TLC's licence number of the base that dispatched the trip; of fhv and fhvhv."
from.fhv_trips = "dispatching_base_num"
from.fhvhv_trips = "dispatching_base_num"

[columns.high_volume_service]
type = "text"
meaning = "The high-volume service in words, such as Uber; of fhvhv."
from.fhvhv_trips = "hvfhs_license_num"
*/
SELECT
  trips.service,
  trips.pickup_datetime,
  trips.dropoff_datetime,
  {minutes} AS minutes,
  trips.distance,
  trips.pickup_location_id,
  pickup.zone AS pickup_zone,
  pickup.borough AS pickup_borough,
  trips.dropoff_location_id,
  dropoff.zone AS dropoff_zone,
  dropoff.borough AS dropoff_borough,
  trips.payment,
  trips.fare,
  trips.tip,
  trips.total,
  trips.dispatching_base_num,
  trips.high_volume_service
FROM (
  SELECT
    'yellow' AS service,
    pickup_datetime,
    dropoff_datetime,
    trip_distance AS distance,
    pickup_location_id,
    dropoff_location_id,
    {payment_in_words} AS payment,
    fare_amount AS fare,
    tip_amount AS tip,
    total_amount AS total,
    NULL AS dispatching_base_num,
    NULL AS high_volume_service
  FROM {yellow_trips}
  UNION ALL
  SELECT
    'green',
    pickup_datetime,
    dropoff_datetime,
    trip_distance,
    pickup_location_id,
    dropoff_location_id,
    {payment_in_words},
    fare_amount,
    tip_amount,
    total_amount,
    NULL,
    NULL
  FROM {green_trips}
  UNION ALL
  SELECT
    'fhv',
    pickup_datetime,
    dropoff_datetime,
    NULL,
    pickup_location_id,
    dropoff_location_id,
    NULL,
    NULL,
    NULL,
    NULL,
    dispatching_base_num,
    NULL
  FROM {fhv_trips}
  UNION ALL
  SELECT
    'fhvhv',
    pickup_datetime,
    dropoff_datetime,
    trip_miles,
    pickup_location_id,
    dropoff_location_id,
    NULL,
    base_passenger_fare,
    tips,
    base_passenger_fare + COALESCE(tolls, 0) + COALESCE(bcf, 0) + COALESCE(sales_tax, 0)
      + COALESCE(congestion_surcharge, 0) + COALESCE(airport_fee, 0)
      + COALESCE(cbd_congestion_fee, 0) + COALESCE(tips, 0),
    dispatching_base_num,
    {service_in_words}
  FROM {fhvhv_trips}
) AS trips
-- each id once, whatever somebody has put into the zones: no trip may be there twice
LEFT JOIN (
  SELECT location_id, MIN(zone) AS zone, MIN(borough) AS borough
  FROM {taxi_zones}
  GROUP BY location_id
) AS pickup ON pickup.location_id = trips.pickup_location_id
LEFT JOIN (
  SELECT location_id, MIN(zone) AS zone, MIN(borough) AS borough
  FROM {taxi_zones}
  GROUP BY location_id
) AS dropoff ON dropoff.location_id = trips.dropoff_location_id
