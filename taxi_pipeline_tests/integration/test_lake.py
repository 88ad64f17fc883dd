"""The lake in the emulator, by way of Google's client, and what faults between the two lead to."""

import base64
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import google_crc32c
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.http import serving_application, silent
from taxi_pipeline_tests.support.lake import delete, overwrite
from taxi_pipeline_tests.support.relays import Exchange, Point, Reply, http_relay, passing

NAME = "raw/tests/object"
LARGE = 9 << 20  # bytes; above 8 MiB Google's client sends a file in parts
KNOWN = LakeObject(NAME, f"gs://a-bucket/{NAME}", 1, 1, "", {}, "AAAAAA==")


@pytest.fixture
def lake(platform: Platform) -> Lake:
    """Return the lake, whose client asks the server itself, whatever relay a test starts then."""
    lake = platform.resources.lake
    lake.find("the client is made now")
    return lake


def file(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    return path


def opened(lake: Lake) -> None:
    with lake.opened(KNOWN) as stream:
        stream.read(1)


def unchanged(lake: Lake) -> None:
    with lake.unchanged(KNOWN):
        pass


CALLS: dict[str, Callable[[Lake, Path], object]] = {
    "upload": lambda lake, folder: lake.upload(file(folder, b""), NAME, {}, 0),
    "upload of a large file": lambda lake, folder: lake.upload(
        file(folder, bytes(LARGE)), NAME, {}, 0
    ),
    "download": lambda lake, folder: lake.download(KNOWN, folder),
    "opened": lambda lake, _: opened(lake),
    "annotate": lambda lake, _: lake.annotate(KNOWN, {}),
    "ensure_current": lambda lake, _: lake.ensure_current(KNOWN),
    "unchanged": lambda lake, _: unchanged(lake),
    "find": lambda lake, _: lake.find(""),
    "get": lambda lake, _: lake.get("x"),
    "generation_of": lambda lake, _: lake.generation_of(NAME),
    "delete": lambda lake, _: lake.delete(KNOWN),
}


def test_every_method_that_asks_the_server_is_tried_below() -> None:
    methods = {name for name, value in vars(Lake).items() if callable(value) and name[0] != "_"}
    assert methods - {"uri", "link", "page"} <= {*CALLS}


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_never_answers_is_not_waited_for_longer_than_the_timeout(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str
) -> None:
    with silent() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        lake = Lake(bucket="a-bucket", project="a-project", timeout=0.2)
        began = time.monotonic()
        with pytest.raises(TransientError, match=r"gs://a-bucket/.*timed? ?out"):
            CALLS[call](lake, tmp_path)
        assert time.monotonic() - began < 10  # the client's own timeouts are a minute and more


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_is_busy_is_asked_once_by_the_client_and_heeded(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str
) -> None:
    def refuse(exchange: Exchange) -> None:
        assert exchange.body is not None  # what is not read would be taken for the next request
        exchange.answer(Reply(503, [("Retry-After", "7")], b""))

    busy = Point[Exchange](lambda exchange: True, refuse, times=None)
    with http_relay("http://127.0.0.1:1", [busy]) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        with pytest.raises(TransientError, match="gs://a-bucket/") as caught:
            CALLS[call](Lake(bucket="a-bucket", project="a-project"), tmp_path)
    assert (busy.reached, caught.value.retry_after) == (1, 7)


def crc32c(content: bytes) -> str:
    return base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()


@pytest.mark.parametrize("size", [6, LARGE])
def test_bytes_damaged_on_their_way_never_take_the_good_objects_place(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    """Cloud Storage refuses them by the checksum sent ahead; the emulator does not look at it."""
    content = b"intact".ljust(size)
    promised: list[str] = []

    def damage(exchange: Exchange) -> None:
        if promise := re.search(rb'"crc32c": "([^"]+)"', exchange.body):
            promised.append(promise[1].decode())
        damaged = exchange.body.replace(b"intact", b"broken")
        if damaged != exchange.body and promised == [crc32c(content)]:
            arrived = crc32c(content.replace(b"intact", b"broken"))
            words = f'Provided CRC32C "{promised[0]}" doesn\'t match calculated CRC32C "{arrived}".'
            exchange.answer_json(400, {"error": {"code": 400, "message": words}})
        else:
            exchange.answer(exchange.asked(damaged))

    good = overwrite(lake, file(tmp_path, b"good"), NAME, {})
    with http_relay(storage_url(), [Point(sends, damage, times=None)]) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        with pytest.raises(TransientError, match="doesn't match calculated"):
            overwrite(Lake(bucket=lake.bucket, project="p"), file(tmp_path, content), NAME, {})
    assert lake.find(NAME) == [good]


@pytest.mark.parametrize("size", [6, LARGE])
def test_an_answer_with_another_checksum_is_no_success_and_deletes_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    def damage(exchange: Exchange) -> None:
        exchange.answer(exchange.asked(exchange.body.replace(b"intact", b"broken")))

    with http_relay(storage_url(), [Point(sends, damage, times=None)]) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        path = file(tmp_path, b"intact".ljust(size))
        with pytest.raises(TransientError, match="has got other bytes than those of file"):
            overwrite(Lake(bucket=lake.bucket, project="p"), path, NAME, {})
    assert [item.size for item in lake.find(NAME)] == [size]


@pytest.mark.parametrize("size", [6, 33 << 20])
def test_an_upload_says_how_far_it_has_come(lake: Lake, tmp_path: Path, size: int) -> None:
    sent: list[int] = []
    lake.upload(file(tmp_path, bytes(size)), NAME, {}, lake.generation_of(NAME), sent.append)
    assert sum(sent) == size
    assert max(sent) <= 16 << 20


def test_bytes_damaged_on_their_way_back_are_no_download(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def damage(exchange: Exchange) -> None:
        reply = exchange.asked()
        exchange.answer(replace(reply, body=reply.body.replace(b"intact", b"broken")))

    stored = overwrite(lake, file(tmp_path, b"intact"), NAME, {})
    with http_relay(storage_url(), [Point(passing("GET", "^/download"), damage)]) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        with pytest.raises(TransientError, match="CRC32C"):
            Lake(bucket=lake.bucket, project="p").download(stored, tmp_path)


def test_a_download_that_is_cut_short_is_none(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cut = Point[Exchange](passing("GET", "^/download"), lambda exchange: exchange.reset())
    stored = overwrite(lake, file(tmp_path, b"intact"), NAME, {})
    with http_relay(storage_url(), [cut]) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        with pytest.raises(TransientError, match="gs://"):
            Lake(bucket=lake.bucket, project="p").download(stored, tmp_path)
    assert lake.download(stored, tmp_path).read_bytes() == b"intact"


def test_an_object_is_read_as_it_was_listed_or_not_at_all(lake: Lake, tmp_path: Path) -> None:
    old = overwrite(lake, file(tmp_path, b"old"), NAME, {})
    lake.ensure_current(old)
    new = overwrite(lake, file(tmp_path, b"new"), NAME, {})
    replaced = rf"{NAME} was replaced while it was read"
    with pytest.raises(TransientError, match=replaced):
        lake.download(old, tmp_path)
    with pytest.raises(TransientError, match=replaced), lake.opened(old):
        pass
    with pytest.raises(TransientError, match=replaced):
        lake.ensure_current(old)
    assert lake.download(new, tmp_path).read_bytes() == b"new"
    with lake.opened(new) as stream:
        assert stream.read() == b"new"


def test_an_object_that_is_replaced_while_it_is_read_breaks_the_reading_off(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Cloud Storage's link to an object's bytes names their generation; the emulator's does not."""

    def name_generation(exchange: Exchange) -> None:
        reply = exchange.asked()
        described = reply.json
        described["mediaLink"] += f"&generation={described['generation']}"
        exchange.answer_json(reply.status, described)

    def read_and_replace() -> None:
        with Lake(bucket=lake.bucket, project="p").opened(old) as stream:
            assert stream.read(1) == b"\0"
            overwrite(lake, file(tmp_path, b"\1" * (1 << 20)), NAME, {})
            stream.seek(1 << 19)
            stream.read(1)

    old = overwrite(lake, file(tmp_path, bytes(1 << 20)), NAME, {})
    metadata = Point(passing("GET", "^/storage/"), name_generation)
    with http_relay(storage_url(), [metadata]) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        with pytest.raises(TransientError, match="was replaced"):
            read_and_replace()


def test_what_failed_for_an_object_that_was_replaced_meanwhile_is_worth_another_try(
    lake: Lake, tmp_path: Path
) -> None:
    def fail() -> None:
        raise PermanentError("no Parquet")

    stored = overwrite(lake, file(tmp_path, b"old"), NAME, {})
    with lake.unchanged(stored):
        pass
    with pytest.raises(PermanentError, match="no Parquet"), lake.unchanged(stored):
        fail()
    overwrite(lake, file(tmp_path, b"new"), NAME, {})
    with pytest.raises(TransientError, match="was replaced"), lake.unchanged(stored):
        fail()
    with pytest.raises(TransientError, match="was replaced"), lake.unchanged(stored):
        delete(lake, NAME)


def test_to_delete_what_another_run_has_deleted_is_no_error(lake: Lake, tmp_path: Path) -> None:
    stored = overwrite(lake, file(tmp_path, b"old"), NAME, {})
    lake.delete(stored)
    lake.delete(stored)
    assert lake.find(NAME) == []


def storage_url() -> str:
    return os.environ["STORAGE_EMULATOR_HOST"]


def sends(exchange: Exchange) -> bool:
    return exchange.method in ("POST", "PUT")


@pytest.mark.parametrize("there", [True, False])
def test_another_object_than_the_one_to_be_replaced_stays(
    platform: Platform, tmp_path: Path, there: bool
) -> None:
    lake = platform.resources.lake
    (tmp_path / "file").write_text("ours")
    name = f"probe/{uuid.uuid4().hex}"
    expected = lake.upload(tmp_path / "file", name, {}, 0).generation if there else 0
    newest = overwrite(lake, tmp_path / "file", name, {})
    with pytest.raises(TransientError, match="was replaced by another run"):
        lake.upload(tmp_path / "file", name, {}, expected)
    assert lake.find(name) == [newest]
    lake.delete(newest)


def test_an_upload_that_cloud_storage_has_lost_is_worth_another_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def forget(exchange: Exchange) -> None:
        assert exchange.body is not None
        exchange.answer(Reply(410, [], b""))

    (tmp_path / "file").write_text("ours")
    lost = Point[Exchange](sends, forget, times=None)
    with http_relay("http://127.0.0.1:1", [lost]) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        with pytest.raises(TransientError, match="has lost the upload halfway"):
            Lake(bucket="a-bucket", project="a-project").upload(tmp_path / "file", "probe/x", {}, 0)


def test_what_took_the_place_of_a_known_object_is_not_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The emulator deletes whatever is there, so a server of the test's own stands in for it."""
    asked: list[str] = []

    async def delete_generation(request: Request) -> Response:
        asked.append(request.query_params["ifGenerationMatch"])
        if asked[-1] != "7":
            return JSONResponse({"error": {"message": "conditionNotMet"}}, 412)
        return Response(status_code=204)

    path = "/storage/v1/b/a-bucket/o/{name:path}"
    server = Starlette(routes=[Route(path, delete_generation, methods=["DELETE"])])
    with serving_application(server) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        lake = Lake(bucket="a-bucket", project="a-project")
        lake.delete(replace(KNOWN, generation=7))
        lake.delete(replace(KNOWN, generation=6))
    assert asked == ["7", "6"]
