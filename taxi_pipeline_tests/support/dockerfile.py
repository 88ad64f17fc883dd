"""The Dockerfile, read: what its last stage says, which is what the image is."""

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Dockerfile:
    """The instructions of the last stage, each with what stands after it, in their order."""

    instructions: list[tuple[str, str]]

    @classmethod
    def read(cls) -> "Dockerfile":
        """Read the repository's."""
        lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
        text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
        found = re.findall(r"^([A-Z]+) +(.+)$", re.sub(r"\\\n\s*", "", text), re.MULTILINE)
        last = max(place for place, (word, _) in enumerate(found) if word == "FROM")
        return cls(found[last:])

    def all(self, word: str) -> list[str]:
        """Return what stands after each of these instructions."""
        return [rest for name, rest in self.instructions if name == word]
