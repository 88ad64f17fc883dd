"""Where TLC publishes, and where the mirror of its CSVs does: what `.env.example` sets.

What is asked there, and what an answer means, is the publisher's.
"""

from collections.abc import Mapping
from types import MappingProxyType

TLC = "tlc"  # the word for these, where a publisher is to be named

_CLOUDFRONT = "https://d37ci6vzurychx.cloudfront.net"
_MIRROR = "https://github.com/DataTalksClub/nyc-tlc-data/releases/download"

# By the variable that it is the value of. The mirror comes first: it has the CSVs of its months.
ADDRESSES: Mapping[str, str] = MappingProxyType(
    {
        "TAXI_PUBLISHER_URLS": (
            f"{_MIRROR}/{{service}}/{{service}}_tripdata_{{month}}.csv.gz,"
            f"{_CLOUDFRONT}/trip-data/{{service}}_tripdata_{{month}}.parquet"
        ),
        "TAXI_ZONES_URL": f"{_CLOUDFRONT}/misc/taxi_zone_lookup.csv",
        "TAXI_ZONE_SHAPES_URL": f"{_CLOUDFRONT}/misc/taxi_zones.zip",
    }
)
