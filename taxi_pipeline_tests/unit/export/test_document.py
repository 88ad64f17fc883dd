"""The documents' form, and how a file takes another's place."""

import os
import stat
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from taxi_pipeline.cli import main
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.export.document import to_yaml, write_document
from taxi_pipeline_tests.support.forkserver import run

TEXTS = {
    "long": "word " * 40 + "end",
    "lines": "select 1\nfrom x\n",
    "boolean": "N",
    "colon": "Unit: miles.",
    "blank": " ",
    "foreign": "…",
    "codes": [1, 2, "Y"],
    "nested": [{"name": "a", "values": [{"x": 1}]}],
}


def test_what_is_read_back_is_what_was_written() -> None:
    written = to_yaml(TEXTS, "taxi export x")
    assert yaml.safe_load(written) == TEXTS
    assert written.startswith("# Written by `taxi export x` ")


def test_long_texts_are_blocks_and_lists_of_codes_are_lines() -> None:
    written = to_yaml(TEXTS, "taxi export x")
    assert "long: >-\n" in written
    assert "lines: |\n  select 1\n  from x\n" in written
    assert "boolean: 'N'\n" in written  # a boolean to YAML 1.1
    assert "foreign: …\n" in written
    assert "codes: [1, 2, 'Y']\n" in written
    assert max(map(len, written.splitlines())) <= 101


@pytest.mark.parametrize("document", ["dbt", "odcs"])
@pytest.mark.parametrize("store", ["bigquery", "postgres"])
def test_the_file_has_what_the_standard_output_gets_in_every_process(
    tmp_path: Path, document: str, store: str
) -> None:
    command = ["export", document, "--store", store]
    shown = CliRunner().invoke(main, command).stdout
    file = tmp_path / "written.yml"
    done = run(
        [sys.executable, "-m", "taxi_pipeline", *command, "--output", str(file)],
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert file.read_text() == shown
    assert CliRunner().invoke(main, [*command, "--output", "-"]).stdout == shown


def test_a_file_is_replaced_and_keeps_its_mode_and_its_links(tmp_path: Path) -> None:
    file, link = tmp_path / "sources.yml", tmp_path / "link.yml"
    file.write_text("before")
    file.chmod(0o640)
    link.symlink_to(file)
    write_document("after", link)
    assert file.read_text() == "after"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, file]


def test_a_reader_who_has_opened_the_file_keeps_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "sources.yml"
    file.write_text("before")
    with file.open() as opened:
        write_document("after", file)
        assert opened.read() == "before"


def test_a_disk_that_is_full_leaves_the_file_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "sources.yml"
    file.write_text("before")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(PermanentError, match=r"sources\.yml cannot be written: No space left on"):
        write_document("after", file)
    assert file.read_text() == "before"
    assert [*tmp_path.iterdir()] == [file]


@pytest.mark.parametrize("name", ["nowhere/sources.yml", "file/sources.yml"])
def test_where_no_file_can_be_one_sentence_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    path = str(tmp_path / name)
    shown = CliRunner().invoke(main, ["export", "dbt", "--store", "postgres", "--output", path])
    assert shown.exit_code == 1
    assert shown.stderr.startswith(f"Error: {path} cannot be written: ")


def test_a_device_is_written_into_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_document("text", pipe)
    assert os.read(reading, 100) == b"text"
    os.close(reading)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
