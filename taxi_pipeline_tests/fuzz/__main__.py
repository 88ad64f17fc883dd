"""Run the coverage-guided fuzzer for some seconds; end with its exit code, 0 if nothing was found.

What ends the process, an error that is not ours or want of memory, is left in `--found` as the
bytes that did it: put it into `found/`, and mend what it shows.
"""

import argparse
import random
import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

with atheris.instrument_imports(include=["taxi_pipeline.tlc", "taxi_pipeline_tests.fuzz.target"]):
    from taxi_pipeline_tests.fuzz.target import Hostile, attempt

from taxi_pipeline_tests.fuzz.mutation import mutated
from taxi_pipeline_tests.fuzz.seeds import csv_seeds, parquet_seeds

_SEEDS = {"csv": csv_seeds, "parquet": parquet_seeds}
_FOUND = Path(__file__).with_name("found")
_MEMORY_BYTES = 4 << 30  # of addresses, of which the libraries take one
_MOST_BYTES = 1 << 18


def _mutated(coded: bytes, most: int, seed: int) -> bytes:
    def of_bytes(content: bytes) -> bytes:
        changed: bytes = atheris.Mutate(content, len(content) + 32)
        return changed

    return bytes(mutated(Hostile.parse(coded), random.Random(seed), of_bytes, most - 1))


def _one(coded: bytes) -> None:
    attempt(Hostile.parse(coded))


def main() -> None:
    parser = argparse.ArgumentParser("python -m taxi_pipeline_tests.fuzz")
    parser.add_argument("format", choices=_SEEDS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--found", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--corpus", type=Path, help="a folder that keeps what was interesting")
    chosen = parser.parse_args()
    chosen.found.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        seeds = Path(scratch)
        for number, seed in enumerate(_SEEDS[chosen.format]()):
            (seeds / f"{number:03}").write_bytes(bytes(seed))
        for kept in sorted(_FOUND.glob(f"{chosen.format}-*")):
            (seeds / kept.name).write_bytes(kept.read_bytes())
        corpus = chosen.corpus or seeds
        corpus.mkdir(parents=True, exist_ok=True)
        # a file that takes gigabytes is refused them, here and not by killing what else runs
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        options = [
            sys.argv[0],
            f"-max_total_time={chosen.seconds}",
            f"-max_len={_MOST_BYTES}",
            f"-artifact_prefix={chosen.found}/{chosen.format}-",
            "-timeout=30",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
            *map(str, dict.fromkeys((corpus, seeds))),
        ]
        atheris.Setup(options, _one, custom_mutator=_mutated)
        atheris.Fuzz()


main()
