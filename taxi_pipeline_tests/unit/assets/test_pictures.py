"""What can be said of a picture without looking at it: its form, its size and its background."""

import base64
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from io import BytesIO

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from taxi_pipeline.assets.month_picture import month_picture, ticks
from taxi_pipeline.assets.pictures import (
    HEIGHT,
    MAP_HEIGHT,
    MAP_WIDTH,
    WIDTH,
    daily_picture,
    zones_picture,
)
from taxi_pipeline.tlc.cleaning import clean_zone_shapes
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import open_published
from taxi_pipeline.tlc.rules import RULES
from taxi_pipeline.tlc.services import GREEN, TAXI_ZONE_SHAPES
from taxi_pipeline.tlc.shapes import ZoneShape, read_zone_shapes
from taxi_pipeline_tests.support.real_files import NOT_THERE, REAL_FILES

JANUARY = Month(2021, 1)
MANY = {f"reason_{number}": 10**number for number in range(9)}
BACKGROUNDS = ("white", "#0d1117")


def png_of(picture: dg.MarkdownMetadataValue) -> bytes:
    found = re.fullmatch(r"!\[[^]]+\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", picture.value)
    assert found
    return base64.b64decode(found[1], validate=True)


def image_of(
    picture: dg.MarkdownMetadataValue,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    bytes_between: tuple[int, int] = (5_000, 45_000),
) -> Image.Image:
    png = png_of(picture)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    least, most = bytes_between
    assert least < len(png) < most
    image = Image.open(BytesIO(png))
    assert image.size == size
    return image


def map_of(zones: Sequence[ZoneShape], trips: Mapping[int, int]) -> Image.Image:
    picture = zones_picture("pick-ups by zone, 2021-01", zones, trips)
    return image_of(picture, (MAP_WIDTH, MAP_HEIGHT), (1_000, 40_000)).convert("RGBA")


def colours_on(image: Image.Image, background: str) -> set[tuple[int, ...]]:
    page = Image.new("RGBA", image.size, background)
    page.alpha_composite(image)
    found = page.convert("RGB").getcolors(image.width * image.height)
    assert found
    return {colour for count, colour in found if isinstance(colour, tuple) and count > 20}


@pytest.mark.parametrize(
    ("trips", "rejected"),
    [
        ([1_000 + 7 * day for day in range(31)], {"no_passengers": 120, "unparsable": 1}),
        ([700_000] * 28, {}),
        ([0] * 31, {"pickup_missing": 10_000_000}),
        ([0] * 30, {}),
        ([5] * 29, MANY),
    ],
    ids=["a month", "nothing rejected", "everything rejected", "nothing at all", "many reasons"],
)
def test_a_month_is_a_small_picture_without_a_background(
    trips: list[int], rejected: Mapping[str, int]
) -> None:
    image = image_of(month_picture(GREEN, JANUARY, trips, rejected))
    transparency = image.getchannel("A").histogram()
    assert transparency[0] > 0.4 * WIDTH * HEIGHT


def test_trips_and_rejected_rows_have_a_colour_each_only_where_there_are_any() -> None:
    nothing = colours_on(image_of(month_picture(GREEN, JANUARY, [0] * 31, {})), "white")
    trips = colours_on(image_of(month_picture(GREEN, JANUARY, [9] * 31, {})), "white")
    rejected = colours_on(image_of(month_picture(GREEN, JANUARY, [0] * 31, {"a": 1})), "white")
    blue, orange = (0x3B, 0x8B, 0xD0), (0xD9, 0x77, 0x2B)
    assert {blue, orange} & nothing == set()
    assert {blue, orange} & trips == {blue}
    assert {blue, orange} & rejected == {orange}


def test_the_largest_numbers_and_the_longest_reasons_have_room() -> None:
    # fhvhv has had 27 million trips in a month
    rejected = {rule.name: 27_000_000 for rule in RULES if rule.action.rejects}
    alpha = image_of(month_picture(GREEN, JANUARY, [1_200_000] * 31, rejected)).getchannel("A")
    at_the_edge, between = alpha.crop((0, 0, 2, HEIGHT)), alpha.crop((426, 30, 446, 220))
    assert at_the_edge.getextrema() == between.getextrema() == (0, 0)


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (1.05, [0, 1]),
        (6, [0, 1, 2, 3, 4, 5, 6]),
        (7, [0, 2, 4, 6]),
        (48_300, [0, 10_000, 20_000, 30_000, 40_000]),
        (1_260_000, [0, 500_000, 1_000_000]),
    ],
)
def test_an_axis_has_few_ticks_at_round_numbers(highest: float, expected: list[int]) -> None:
    assert [*ticks(highest)] == expected


def luminance(colour: tuple[int, ...]) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_ink_and_bars_stand_out_from_a_light_and_from_a_dark_page(background: str) -> None:
    image = image_of(month_picture(GREEN, JANUARY, [9] * 31, {"unparsable": 1}))
    page = luminance(Image.new("RGB", (1, 1), background).getpixel((0, 0)))  # type: ignore[arg-type]
    for solid in ((0x82, 0x8B, 0x96), (0x3B, 0x8B, 0xD0), (0xD9, 0x77, 0x2B)):
        assert solid in colours_on(image, background)
        light, dark = sorted([luminance(solid), page], reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 3  # what WCAG asks of graphics


def days(number: int) -> list[date]:
    return [date(2021, 1, 1) + timedelta(day) for day in range(number)]


@pytest.mark.parametrize(
    "trips",
    [
        {},
        {"yellow": [1_000] * 90},
        {"yellow": [90_000] * 90, "green": [2_000] * 90, "fhvhv": [0] * 90},
        {"yellow": [0] * 90, "green": [0] * 90},
    ],
    ids=["no services", "one service", "services that differ", "no trips"],
)
def test_the_days_are_a_small_picture_without_a_background(
    trips: Mapping[str, list[int]],
) -> None:
    image = image_of(daily_picture(days(90) if trips else [], trips))
    assert image.getchannel("A").histogram()[0] > 0.8 * WIDTH * HEIGHT


def test_days_that_are_left_out_are_a_gap_in_the_line() -> None:
    whole = days(90)
    ends = [*whole[:10], *whole[-10:]]
    drawn = [
        sum(
            image_of(daily_picture(some, {"yellow": [50] * len(some)}))
            .getchannel("A")
            .histogram()[1:]
        )
        for some in (whole, ends)
    ]
    assert drawn[1] < drawn[0] - 400  # pixels


def square(location_id: int, west: float, hole: bool = False) -> ZoneShape:
    """Return a zone a tenth of a degree wide, whose middle is a hole where asked for."""
    ring = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]) / 10
    inner = (ring[::-1] - 0.05) / 2 + 0.05
    rings = [each + np.array([west, 40.6]) for each in ([ring, inner] if hole else [ring])]
    return ZoneShape(location_id, "Queens", f"Zone {location_id}", tuple(rings))


def test_a_zone_is_the_more_opaque_the_more_trips_it_has_and_a_hole_is_clear() -> None:
    def opacities(*zones: ZoneShape) -> list[tuple[int, int]]:
        """Return how opaque the zones are, from none on, and how many pixels are so."""
        alpha = map_of(zones, {1: 1, 2: 1_000, 4: 1_000_000, 265: 9}).getchannel("A")
        return [(value, count) for value, count in enumerate(alpha.histogram()) if count > 5_000]

    others = [square(1, -74.1), square(2, -74.0), square(3, -73.9)]
    whole, pierced = (opacities(*others, square(4, -73.8, hole)) for hole in (False, True))
    assert len(whole) == len(pierced) == 4  # nothing, and the three zones with trips
    (clear, _), (fewest, small), _, (most, large) = whole
    assert (clear, most > 250) == (0, True)
    assert 0 < fewest < 50
    assert large == pytest.approx(small, rel=0.05)
    assert pierced[-1][1] == pytest.approx(large * 3 / 4, rel=0.05)


@pytest.mark.parametrize("trips", [{}, {1: 27_000_000}], ids=["no trips", "one zone"])
def test_a_map_of_next_to_nothing_is_drawn(trips: Mapping[int, int]) -> None:
    alpha = map_of([square(1, -74.1)], trips).getchannel("A").histogram()
    assert alpha[0]
    assert any(alpha[200:])
    assert map_of([], trips)


@pytest.fixture(scope="module")
def real_zones(tmp_path_factory: pytest.TempPathFactory) -> list[ZoneShape]:
    """Return TLC's own zones."""
    if not REAL_FILES.is_dir():
        pytest.skip(NOT_THERE)
    folder = tmp_path_factory.mktemp("zones")
    source = open_published(REAL_FILES / "misc" / "taxi_zones.zip", TAXI_ZONE_SHAPES)
    clean_zone_shapes(source, folder / "shapes.parquet", folder / "rejected.parquet")
    return read_zone_shapes(folder / "shapes.parquet")


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_map_of_all_of_tlcs_zones_is_small_and_has_lines_on_any_page(
    real_zones: list[ZoneShape], background: str
) -> None:
    trips = {zone.location_id: 3**zone.location_id % 10**6 for zone in real_zones}
    image = map_of(real_zones, trips)
    page = luminance(Image.new("RGB", (1, 1), background).getpixel((0, 0)))  # type: ignore[arg-type]
    contrasts = [
        (max(luminance(colour), page) + 0.05) / (min(luminance(colour), page) + 0.05)
        for colour in colours_on(image, background)
    ]
    assert max(contrasts) > 3  # what WCAG asks of graphics
    assert len(contrasts) > 10


def test_pictures_drawn_side_by_side_are_those_drawn_one_by_one() -> None:
    def drawn(number: int) -> bytes:
        return png_of(month_picture(GREEN, JANUARY, [number] * 31, {"unparsable": number}))

    numbers = range(1, 5)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(drawn, numbers)) == [drawn(number) for number in numbers]
