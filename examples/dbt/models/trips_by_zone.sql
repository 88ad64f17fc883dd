{% set services = ["yellow", "green", "fhv", "fhvhv"] %}
with trips as (
  {% for service in services %}
  select '{{ service }}' as service, pickup_location_id, count(*) as trips
  from {{ source("tlc", service ~ "_trips") }}
  group by pickup_location_id
  {{ "union all" if not loop.last }}
  {% endfor %}
)
select service, borough, zone, pickup_location_id, trips
from trips
left join {{ source("tlc", "taxi_zones") }} on location_id = pickup_location_id
