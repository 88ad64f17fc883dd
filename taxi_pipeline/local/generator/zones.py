"""The taxi zones: where trips begin and end, and the lookup that names them."""

from pathlib import Path

import numpy as np

from taxi_pipeline.local.generator.drawing import Weights

NEWARK, JFK, LAGUARDIA, UNKNOWN, LAST = 1, 132, 138, 264, 265
BUSIEST_YELLOW = (
    *(237, 236, 161, 186, 162, 48, 142, 170, 239, 141, 234, 230, JFK, 238, 140, 263, 163),
    *(79, 107, 68, LAGUARDIA, 229, 164, 100, 137, 249, 90, 43, 262, 233, 113, 231, 246),
)
BUSIEST_GREEN = (
    *(74, 75, 41, 166, 95, 82, 43, 42, 97, 244, 65, 7, 130, 129, 260, 66, 33, 116, 134),
    *(25, 92, 223, 83, 181, 152, 196, 24, 93, 193, 236),
)

_NAMED = {
    NEWARK: ("EWR", "Newark Airport", "EWR"),
    JFK: ("Queens", "JFK Airport", "Airports"),
    LAGUARDIA: ("Queens", "LaGuardia Airport", "Airports"),
    UNKNOWN: ("Unknown", "N/A", "N/A"),
    LAST: ("N/A", "Outside of NYC", "N/A"),
}
_SAME_NAME = {57: 56, 104: 103, 105: 103}
_BOROUGHS = ("Bronx", "Brooklyn", "Queens", "Staten Island")


def weighed(busiest: tuple[int, ...], spread: float) -> Weights:
    """Weigh all zones, the busiest first; the larger the spread, the more of them share."""
    ranked = dict.fromkeys((*busiest, *range(1, LAST + 1)))
    return {zone: float(np.exp(-rank / spread)) for rank, zone in enumerate(ranked)}


def described(zone: int) -> tuple[str, str, str]:
    """Return a zone's borough, name and service zone: real boroughs, names mostly made up."""
    named = _SAME_NAME.get(zone, zone)
    if named in BUSIEST_YELLOW or named == 103:
        made_up = ("Manhattan", f"Zone {named}", "Yellow Zone")
    else:
        made_up = (_BOROUGHS[named % len(_BOROUGHS)], f"Zone {named}", "Boro Zone")
    return _NAMED.get(zone, made_up)


def write_zones(path: Path) -> None:
    """Write a zone lookup as TLC publishes it."""
    lines = ['"LocationID","Borough","Zone","service_zone"']
    for zone in range(1, LAST + 1):
        cells = ",".join(f'"{cell}"' for cell in described(zone))
        lines.append(f"{zone},{cells}")
    path.write_text("".join(f"{line}\r\n" for line in lines), newline="")
