"""A month of trips: the one form in which a partition key reaches names, URLs and SQL.

Only the calendar belongs here. What is published for a month is the publisher's to say.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Self

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.text import printable

# TLC publishes a month about 50 days after its end.
PUBLICATION_LAG_MONTHS = 2

# the years that a datetime can hold, with the month after each
_KEY = re.compile(r"(?!0000|9999)([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month, in New York's wall-clock time as all of TLC's times are.

    Attributes:
        year: The year.
        month: The month, 1 to 12.
    """

    year: int
    month: int

    @classmethod
    def parse(cls, key: str) -> Self:
        """Read a partition key.

        Args:
            key: YYYY-MM, such as `2021-01`, of the years 0001 to 9998.

        Raises:
            PermanentError: It is anything else.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            raise PermanentError(
                f"'{printable(key, 40)}' is not a month: write it as YYYY-MM, such as 2021-01."
            )
        return cls(int(match[1]), int(match[2]))

    @staticmethod
    def is_key(text: str) -> bool:
        """Whether the text is a partition key."""
        return _KEY.fullmatch(text) is not None

    @classmethod
    def newest_published(cls, today: date) -> Self:
        """Return the newest month that is due by a day: `PUBLICATION_LAG_MONTHS` before that day's.

        TLC is not asked, and may be late.
        """
        months = today.year * 12 + today.month - 1 - PUBLICATION_LAG_MONTHS
        return cls(months // 12, months % 12 + 1)

    @property
    def key(self) -> str:
        """The partition key, `2021-01`."""
        return f"{self.year:04}-{self.month:02}"

    @property
    def start(self) -> datetime:
        """The first instant of the month (inclusive)."""
        return datetime(self.year, self.month, 1)  # noqa: DTZ001 - TLC's times carry no zone

    @property
    def end(self) -> datetime:
        """The first instant after the month (exclusive)."""
        return self.next.start

    @property
    def next(self) -> "Month":
        """The month after this one."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def previous(self) -> "Month":
        """The month before this one."""
        return Month(self.year - (self.month == 1), (self.month - 2) % 12 + 1)

    def __str__(self) -> str:
        return self.key
