"""What a sensor leaves to its next tick, as a value. What each of them keeps stands beside it."""

from typing import Self

from pydantic import BaseModel, ValidationError


class SensorCursor(BaseModel):
    """A cursor that Dagster keeps as JSON; each field of it has a default."""

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Read the cursor; one that is damaged, or none, starts over."""
        try:
            return cls.model_validate_json(text or "{}")
        except ValidationError:
            return cls()
