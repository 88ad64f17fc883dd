"""What changed over the years, as tuples of values that each hold from a month on."""

from taxi_pipeline.tlc.month import Month

type Dated[T] = tuple[tuple[Month, T], ...]


def in_force[T](dated: Dated[T], month: Month) -> T:
    """Return the value that holds in the month: the last one that does not begin after it."""
    return [value for since, value in dated if since <= month][-1]
