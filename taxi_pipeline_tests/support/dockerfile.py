"""The Dockerfile, read: what its last stage says, which is what the image is."""

import json
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
        return [rest for its, rest in self.instructions if its == word]

    def command(self, word: str) -> list[str]:
        """Return the words of ENTRYPOINT, CMD or HEALTHCHECK."""
        (rest,) = self.all(word)
        words: list[str] = json.loads(rest[rest.index("[") :])
        return words

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it sets."""
        return dict(pair.split("=", 1) for rest in self.all("ENV") for pair in rest.split())

    @property
    def copied(self) -> list[tuple[list[str], str]]:
        """What is copied from the context, and to where."""
        words = [rest.split() for rest in self.all("COPY") if not rest.startswith("--from")]
        return [(sources, target) for *sources, target in words]
