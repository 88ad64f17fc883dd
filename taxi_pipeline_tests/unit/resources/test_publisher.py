import gzip
import hashlib
import re
import tracemalloc
from contextlib import suppress
from datetime import date
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from traceback import format_exception

import pytest

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.publisher import (
    Download,
    FileVersion,
    NotModified,
    Publisher,
    RemoteFile,
)
from taxi_pipeline.resources.publisher import answers as module
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.support.http import (
    Answer,
    body,
    missing_in_s3,
    named,
    refused_by_cloudfront,
    serving,
    status,
)

JANUARY = Month(2021, 1)
CSV = "/csv/yellow_tripdata_2021-01.csv.gz"
PARQUET = "/yellow_tripdata_2021-01.parquet"


def publisher(base: str) -> Publisher:
    return Publisher(
        urls=f"{base}/csv/{{service}}_tripdata_{{month}}.csv.gz, "
        f"{base}/{{service}}_tripdata_{{month}}.parquet",
        zones_url=f"{base}/zones.csv",
    )


def noting(then: Answer, seen: list[str]) -> Answer:
    """Note the method, and then answer."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.command)
        then(request)

    return answer


def test_a_file_arrives_byte_for_byte_with_what_was_said_of_it(tmp_path: Path) -> None:
    content = b"\x1f\x8b" + bytes(range(256)) * 9000
    with serving({CSV: [body(content, '"v1"')]}) as (base, _):
        found = publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert found == Download(
        path=tmp_path / "yellow_tripdata_2021-01.csv.gz",
        url=base + CSV,
        etag='"v1"',
        last_modified="Wed, 20 Jul 2022 10:00:00 GMT",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    assert found.path.read_bytes() == content


def test_a_gzip_that_the_server_labels_an_encoding_stays_one(tmp_path: Path) -> None:
    content = gzip.compress(b"VendorID", mtime=0)

    def labelled(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    with serving({CSV: [labelled]}) as (base, _):
        found = publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert isinstance(found, Download)
    assert found.path.read_bytes() == content


# S3's for a missing key, directly and by way of CloudFront, and the mirror's
MISSING = [
    missing_in_s3(),
    status(403, **{"x-amz-request-id": "4442587FB7D0A2F9"}),
    named(403, "AmazonS3", **{"Content-Type": "application/xml"}),
    status(404),
]


@pytest.mark.parametrize("missing", MISSING)
def test_the_first_url_that_has_the_month_wins(tmp_path: Path, missing: Answer) -> None:
    with serving({CSV: [missing], PARQUET: [body(b"PAR1")]}) as (base, asked):
        found = publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert isinstance(found, Download)
    assert found.url == base + PARQUET
    assert asked == [CSV, PARQUET]


def test_a_month_that_is_not_published_names_itself_and_every_url(tmp_path: Path) -> None:
    with (
        serving({CSV: [status(404)], PARQUET: [missing_in_s3()]}) as (base, asked),
        pytest.raises(PermanentError) as caught,
    ):
        publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    for part in ("yellow 2021-01 is not published", base + CSV, base + PARQUET):
        assert part in str(caught.value)
    assert asked[:2] == [CSV, PARQUET]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("later", ["2021-02", "2021-03", "2021-04"])
def test_a_month_that_is_missing_before_a_published_one_is_not_called_unpublished(
    tmp_path: Path, later: str
) -> None:
    seen: list[str] = []
    published = noting(body(b"PAR1"), seen)
    with (
        serving({PARQUET.replace("2021-01", later): [published]}) as (base, asked),
        pytest.raises(TransientError) as caught,
    ):
        publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    for part in ("yellow 2021-01 is missing: ", base + CSV, base + PARQUET, f"although {later} is"):
        assert part in str(caught.value)
    assert seen == ["HEAD"]
    assert asked[-1].endswith(f"{later}.parquet")


def test_only_the_next_three_months_are_asked_for_where_one_is_missing(tmp_path: Path) -> None:
    with (
        serving({"/yellow_tripdata_2021-05.parquet": [body(b"PAR1")]}) as (base, asked),
        pytest.raises(PermanentError, match="is not published"),
    ):
        publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert [path[-15:-8] for path in asked[1::2]] == ["2021-01", "2021-02", "2021-03", "2021-04"]


def test_no_month_is_asked_for_that_is_not_due(tmp_path: Path) -> None:
    newest = Month.newest_published(date.today())  # noqa: DTZ011 - as the publisher does
    not_due = f"/yellow_tripdata_{newest.next}.parquet"
    with (
        serving({not_due: [body(b"PAR1")]}) as (base, asked),
        pytest.raises(PermanentError, match=f"yellow {newest} is not published"),
    ):
        publisher(base).fetch_month(YELLOW, newest, tmp_path)
    assert not_due not in asked


def test_while_a_publisher_refuses_us_no_month_counts_as_missing(
    tmp_path: Path,
) -> None:
    refused = CSV.replace("2021-01", "2021-02")
    with (
        serving({refused: [refused_by_cloudfront()]}) as (base, _),
        pytest.raises(TransientError, match=base + refused),
    ):
        publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)


REFUSED = {
    "CloudFront": (refused_by_cloudfront(), None),
    "Retry-After": (status(403, **{"Retry-After": "60", "X-RateLimit-Remaining": "0"}), 60),
    "a limit": (status(403, **{"X-RateLimit-Remaining": "0"}), None),
    "a limit before S3": (
        status(403, **{"x-amz-request-id": "4442587FB7D0A2F9", "Retry-After": "7"}),
        7,
    ),
    "bare": (status(403), None),
    "another's XML": (status(403, **{"Content-Type": "application/xml"}), None),
    "S3's page": (named(403, "AmazonS3", **{"Content-Type": "text/html"}), None),
}


@pytest.mark.parametrize(("answer", "wait"), REFUSED.values(), ids=REFUSED)
def test_a_publisher_that_refuses_us_is_no_reason_to_take_another(
    tmp_path: Path, answer: Answer, wait: float | None
) -> None:
    with serving({CSV: [answer], PARQUET: [body(b"PAR1")]}) as (base, asked):
        for ask in (
            lambda: publisher(base).fetch_month(YELLOW, JANUARY, tmp_path),
            lambda: publisher(base).look(YELLOW, JANUARY),
        ):
            asked.clear()
            with pytest.raises(TransientError, match="the publisher refuses us") as caught:
                ask()
            assert str(caught.value).startswith(f"{base}{CSV} answered 403 Forbidden")
            assert caught.value.retry_after == wait
            assert asked == [CSV]


def test_a_signature_that_s3_refuses_is_no_missing_file(tmp_path: Path) -> None:
    answers = {
        CSV: [status(302, Location="/csv/x?X-Amz-Signature=s3cr3t")],
        "/csv/x?X-Amz-Signature=s3cr3t": [missing_in_s3()],
        PARQUET: [body(b"PAR1")],
    }
    with serving(answers) as (base, asked):
        for ask in (
            lambda: publisher(base).fetch_month(YELLOW, JANUARY, tmp_path),
            lambda: publisher(base).look(YELLOW, JANUARY),
        ):
            with pytest.raises(TransientError, match="the publisher refuses us") as caught:
                ask()
            assert "s3cr3t" not in str(caught.value)
    assert PARQUET not in asked


def test_zones_that_are_refused_are_not_missing(tmp_path: Path) -> None:
    with (
        serving({"/zones.csv": [refused_by_cloudfront()]}) as (base, _),
        pytest.raises(TransientError, match="the publisher refuses us"),
    ):
        publisher(base).fetch_zones(tmp_path)


def test_the_shapes_of_the_zones_lie_beside_them_unless_a_variable_says_where(
    tmp_path: Path,
) -> None:
    with serving({"/taxi_zones.zip": [body(b"PK")], "/map/zones.zip": [body(b"PKPK")]}) as (
        base,
        _,
    ):
        beside = publisher(base)
        elsewhere = beside.model_copy(update={"zone_shapes_url": f"{base}/map/zones.zip"})
        found = [each.fetch_zone_shapes(tmp_path) for each in (beside, elsewhere)]
    assert [isinstance(each, Download) and each.size for each in found] == [2, 4]
    said = r"The zones' shapes are not at .*/taxi_zones\.zip\. Set TAXI_ZONE_SHAPES_URL"
    with serving({}) as (base, _), pytest.raises(PermanentError, match=said):
        publisher(base).fetch_zone_shapes(tmp_path)
    wrong = Publisher(urls="", zones_url="", zone_shapes_url="http://h/zones.shp")
    with pytest.raises(PermanentError, match=r"TAXI_ZONE_SHAPES_URL: .* must end in \.zip"):
        wrong.fetch_zone_shapes(tmp_path)


@pytest.mark.parametrize("answer", [status(404), missing_in_s3()], ids=["404", "S3's 403"])
def test_a_file_gone_from_its_publisher_is_not_taken_from_another(
    tmp_path: Path, answer: Answer
) -> None:
    with serving({CSV: [answer], PARQUET: [body(b"x")]}) as (base, asked):
        known = FileVersion(base + CSV, '"v1"')
        said = f"{base + CSV} does not have the file that was fetched from it."
        with pytest.raises(TransientError, match=re.escape(said)):
            publisher(base).fetch_month(YELLOW, JANUARY, tmp_path, known)
        with pytest.raises(TransientError, match=re.escape(said)):
            publisher(base).look(YELLOW, JANUARY, known)
        assert PARQUET not in asked
        # of a publisher that is no longer asked nothing is expected
        elsewhere = FileVersion("http://elsewhere/x", '"v1"')
        assert publisher(base).look(YELLOW, JANUARY, elsewhere)


def test_a_known_file_is_not_downloaded_again(tmp_path: Path) -> None:
    with serving({CSV: [body(b"x", '"v1"')]}) as (base, _):
        known = FileVersion(base + CSV, '"v1"')
        assert publisher(base).fetch_month(YELLOW, JANUARY, tmp_path, known) == NotModified()
        older = FileVersion(base + CSV, '"v0"')
        assert isinstance(publisher(base).fetch_month(YELLOW, JANUARY, tmp_path, older), Download)
        elsewhere = FileVersion("http://elsewhere/x", '"v1"')
        found = publisher(base).fetch_month(YELLOW, JANUARY, tmp_path, elsewhere)
        assert isinstance(found, Download)


@pytest.mark.parametrize(
    ("value", "noted"), [("x" * 1000, "x" * 1000), ("x" * 1001, ""), ("x\x1b[31m", "")]
)
def test_headers_that_are_too_long_or_do_not_print_are_not_noted(
    tmp_path: Path, value: str, noted: str
) -> None:
    answer = status(200, **{"ETag": value, "Last-Modified": value})
    with serving({CSV: [answer]}) as (base, _):
        found = publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
        seen = publisher(base).look(YELLOW, JANUARY)
    assert isinstance(found, Download)
    assert (found.etag, found.last_modified) == (noted, noted)
    assert seen == RemoteFile(base + CSV, noted, noted, 0)


@pytest.mark.parametrize(
    "first",
    [
        *(status(code) for code in (429, 500, 503, 507, 509, 520, 522, 524, 530, 598, 599)),
        body(b"half", promised=100),
    ],
)
def test_what_may_yet_work_is_transient_and_another_url_no_way_out(
    tmp_path: Path, first: Answer
) -> None:
    with serving({CSV: [first, body(b"whole")], PARQUET: [body(b"PAR1")]}) as (base, asked):
        with pytest.raises(TransientError, match=base + CSV):
            publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
        assert asked == [CSV]
        found = publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert isinstance(found, Download)
    assert found.path.read_bytes() == b"whole"


def test_a_publisher_that_asks_to_wait_is_heeded(tmp_path: Path) -> None:
    with (
        serving({CSV: [status(429, **{"Retry-After": "7"})]}) as (base, _),
        pytest.raises(TransientError, match="answered 429") as caught,
    ):
        publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert caught.value.retry_after == 7


def test_a_body_in_chunks_arrives_whole(tmp_path: Path) -> None:
    def chunked(request: BaseHTTPRequestHandler) -> None:
        request.protocol_version = "HTTP/1.1"
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")

    with serving({CSV: [chunked]}) as (base, _):
        found = publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert isinstance(found, Download)
    assert found.path.read_bytes() == b"abcdefg"


def trickling(head: bytes, one: bytes, ended: Event) -> Answer:
    """Answer with the head, and then with one thing over and over."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(head)
        with suppress(OSError):
            while not ended.wait(0.01):
                request.wfile.write(one)

    return answer


@pytest.mark.parametrize(
    ("head", "one"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 9999\r\n\r\n", b"x"),
    ],
    ids=["a body", "a body without an end", "headers", "100 Continue", "a redirect's body"],
)
def test_a_server_that_trickles_is_cut_off_in_the_time_that_is_set(
    tmp_path: Path, head: bytes, one: bytes
) -> None:
    ended = Event()
    followed = trickling(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x", ended)
    answers = {CSV: [trickling(head, one, ended)], "/x": [followed]}
    with serving(answers) as (base, _):
        impatient = publisher(base).model_copy(update={"download_timeout": 1})
        with pytest.raises(TransientError, match="set TAXI_PUBLISHER_DOWNLOAD_TIMEOUT higher"):
            impatient.fetch_month(YELLOW, JANUARY, tmp_path)
        ended.set()


def test_looking_is_not_held_up_by_a_server_that_trickles() -> None:
    ended = Event()
    with serving({CSV: [trickling(b"HTTP/1.1 200 OK\r\nX: ", b"x", ended)]}) as (base, _):
        impatient = publisher(base).model_copy(update={"look_timeout": 1})
        with pytest.raises(TransientError, match="set TAXI_PUBLISHER_LOOK_TIMEOUT higher"):
            impatient.look(YELLOW, JANUARY)
        ended.set()


def test_a_redirects_body_is_not_read(tmp_path: Path) -> None:
    bomb = gzip.compress(b"\0" * (64 << 20))

    def redirect(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", PARQUET)
        request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(bomb)))
        request.end_headers()
        with suppress(OSError):
            request.wfile.write(bomb)

    tracemalloc.start()
    with serving({CSV: [redirect], PARQUET: [body(b"whole")]}) as (base, _):
        found = publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, Download)
    assert found.path.read_bytes() == b"whole"
    assert peak < 32 << 20


def test_a_file_larger_than_any_published_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGEST_BYTES", 1000)
    with (
        serving({CSV: [body(b"x" * 1001)]}) as (base, _),
        pytest.raises(PermanentError, match="more than 1,000 bytes arrived"),
    ):
        publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)


def test_a_server_that_is_not_there_is_transient(tmp_path: Path) -> None:
    with serving({}) as (base, _):
        pass
    with pytest.raises(TransientError, match=base):
        publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)


@pytest.mark.parametrize("code", [400, 401, 410, 501, 505])
def test_other_refusals_are_not_tried_again(tmp_path: Path, code: int) -> None:
    with (
        serving({CSV: [status(code)]}) as (base, asked),
        pytest.raises(PermanentError, match=f"answered {code}"),
    ):
        publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert asked == [CSV]


@pytest.mark.parametrize("code", [400, 503])
def test_what_a_refusal_says_is_legible(tmp_path: Path, code: int) -> None:
    def shouting(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code, "\x1b[31m" + "no" * 5000)
        request.end_headers()

    with (
        serving({CSV: [shouting]}) as (base, _),
        pytest.raises((PermanentError, TransientError), match=f"answered {code}") as caught,
    ):
        publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", CSV])
def test_a_redirect_to_elsewhere_or_in_a_loop_ends(tmp_path: Path, target: str) -> None:
    with (
        serving({CSV: [status(302, Location=target)]}) as (base, _),
        pytest.raises(PermanentError, match=base),
    ):
        publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_the_signature_of_a_redirect_is_in_no_error(tmp_path: Path, scheme: str) -> None:
    with serving({}) as (gone, _):
        pass
    signed = f"{gone.replace('http', scheme)}/x?sig=s3cr3t"
    with (
        serving({CSV: [status(302, Location=signed)]}) as (base, _),
        pytest.raises((PermanentError, TransientError), match=base) as caught,
    ):
        publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert "s3cr3t" not in "".join(format_exception(caught.value))


def test_zones_are_one_file(tmp_path: Path) -> None:
    with serving({"/zones.csv": [body(b"LocationID\n")]}) as (base, _):
        found = publisher(base).fetch_zones(tmp_path)
    assert isinstance(found, Download)
    with serving({}) as (base, _), pytest.raises(PermanentError, match="Set TAXI_ZONES_URL"):
        publisher(base).fetch_zones(tmp_path)


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ("", "must have {service} and {month}"),
        ("http://h/{service}.parquet", "must have {service} and {month}"),
        ("http://h/{service}/{month}/{year}.parquet", "must have {service} and {month}"),
        ("http://h/{service.name}/{month}.parquet", "must have {service} and {month}"),
        ("http://h/{service}/{month:d}.parquet", "must have {service} and {month}"),
        ("http://h/{service!r}/{month}.parquet", "must have {service} and {month}"),
        ("http://h/{service}{month.parquet", "is no URL template"),
        ("file:///{service}/{month}.parquet", "not an http"),
        ("http://u:s3cr3t@h/{service}/{month}.parquet", "must have no user, password, query"),
        ("http://h/{service}/{month}.parquet?sig=s3cr3t", "must have no user, password, query"),
        ("http://h/{service}/{month}.zip", "must end in .csv.gz or .parquet"),
        ("http://h/{service}_{month}.parquet,", "must have {service} and {month}"),
    ],
)
def test_a_malformed_template_names_its_variable(tmp_path: Path, urls: str, said: str) -> None:
    with pytest.raises(PermanentError) as caught:
        Publisher(urls=urls, zones_url="").fetch_month(YELLOW, JANUARY, tmp_path)
    assert str(caught.value).startswith("TAXI_PUBLISHER_URLS: ")
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


MODIFIED = "Wed, 20 Jul 2022 10:00:00 GMT"


def test_looking_asks_for_the_headers_alone() -> None:
    seen: list[str] = []
    with serving({CSV: [noting(body(b"x" * 9, '"v1"'), seen)]}) as (base, asked):
        found = publisher(base).look(YELLOW, JANUARY)
    assert found == RemoteFile(base + CSV, '"v1"', MODIFIED, 9)
    assert (seen, asked) == (["HEAD"], [CSV])


@pytest.mark.parametrize("missing", MISSING)
def test_looking_finds_the_url_that_a_download_would(missing: Answer) -> None:
    with serving({CSV: [missing], PARQUET: [body(b"PAR1")]}) as (base, asked):
        found = publisher(base).look(YELLOW, JANUARY)
    assert found == RemoteFile(base + PARQUET, "", MODIFIED, 4)
    assert asked == [CSV, PARQUET]


def test_looking_at_a_month_that_no_url_has_finds_nothing() -> None:
    with serving({PARQUET: [missing_in_s3()]}) as (base, asked):
        assert publisher(base).look(YELLOW, JANUARY) is None
    assert asked == [CSV, PARQUET]


@pytest.mark.parametrize("size", [None, "9" * 16, "9" * 5_000, "-1", "many"])
def test_a_size_that_the_publisher_does_not_say_is_none(size: str | None) -> None:
    def unmeasured(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        if size:
            request.send_header("Content-Length", size)
        request.end_headers()

    with serving({CSV: [unmeasured]}) as (base, _):
        found = publisher(base).look(YELLOW, JANUARY)
    assert isinstance(found, RemoteFile)
    assert found.size is None


def test_looking_at_a_known_file_says_whether_it_is_still_the_one() -> None:
    with serving({CSV: [body(b"x", '"v1"')]}) as (base, _):
        known = FileVersion(base + CSV, '"v1"')
        published = RemoteFile(base + CSV, '"v1"', MODIFIED, 1)
        assert publisher(base).look(YELLOW, JANUARY, known) == NotModified()
        for other in (FileVersion(base + CSV, '"v0"'), FileVersion(base + PARQUET, '"v1"')):
            assert publisher(base).look(YELLOW, JANUARY, other) == published


def test_looking_follows_a_redirect_and_keeps_the_published_address() -> None:
    seen: list[str] = []
    answers = {
        CSV: [noting(status(302, Location="/elsewhere?token=1"), seen)],
        "/elsewhere?token=1": [noting(body(b"x", '"v1"'), seen)],
    }
    with serving(answers) as (base, _):
        assert publisher(base).look(YELLOW, JANUARY) == RemoteFile(base + CSV, '"v1"', MODIFIED, 1)
    assert seen == ["HEAD", "HEAD"]


def test_looking_tries_nothing_again() -> None:
    with (
        serving({CSV: [status(503)], PARQUET: [body(b"PAR1")]}) as (base, asked),
        pytest.raises(TransientError, match="answered 503"),
    ):
        publisher(base).look(YELLOW, JANUARY)
    assert asked == [CSV]


def test_looking_waits_no_longer_than_it_is_told() -> None:
    released = Event()

    def late(_: BaseHTTPRequestHandler) -> None:
        assert released.wait(60)

    with serving({CSV: [late]}) as (base, asked):
        impatient = publisher(base).model_copy(update={"look_timeout": 0.05})
        with pytest.raises(TransientError, match=base):
            impatient.look(YELLOW, JANUARY)
        released.set()
    assert asked == [CSV]


@pytest.mark.parametrize("code", [400, 401])
def test_looking_at_another_refusal_is_an_error(code: int) -> None:
    seen: list[str] = []
    with (
        serving({CSV: [noting(status(code), seen)]}) as (base, _),
        pytest.raises(PermanentError, match=f"answered {code}"),
    ):
        publisher(base).look(YELLOW, JANUARY)
    assert seen == ["HEAD"]


def for_get_alone(code: int, then: Answer) -> Answer:
    """Refuse HEAD with a status, and answer GET."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        (status(code) if request.command == "HEAD" else then)(request)

    return answer


def first_byte(content: bytes, etag: str) -> Answer:
    """Answer a request for the first byte with it, and any other with all of the content."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.headers["Range"] != "bytes=0-0":
            body(content, etag)(request)
            return
        request.send_response(206)
        headers = {
            "Content-Range": f"bytes 0-0/{len(content)}",
            "Content-Length": "1",
            "ETag": etag,
            "Last-Modified": MODIFIED,
        }
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content[:1])

    return answer


@pytest.mark.parametrize("code", [401, 403, 405])
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_looking_asks_by_get_where_a_signature_is_not_for_head(code: int, ranges: bool) -> None:
    seen: list[str] = []
    content = b"x" * (8 << 20)  # unread: more than the sockets' buffers take
    file = first_byte(content, '"v1"') if ranges else body(content, '"v1"')

    def signed(request: BaseHTTPRequestHandler) -> None:
        with suppress(OSError):  # nobody reads it
            for_get_alone(code, file)(request)

    answers = {
        CSV: [status(302, Location="/signed?sig=s3cr3t")],
        "/signed?sig=s3cr3t": [noting(signed, seen)],
    }
    with serving(answers) as (base, asked):
        found = publisher(base).look(YELLOW, JANUARY)
        known = FileVersion(base + CSV, '"v1"')
        if not ranges:
            assert publisher(base).look(YELLOW, JANUARY, known) == NotModified()
    assert found == RemoteFile(base + CSV, '"v1"', MODIFIED, len(content))
    assert seen[:2] == ["HEAD", "GET"]
    assert PARQUET not in asked


@pytest.mark.parametrize("code", [405, 501])
def test_looking_asks_by_get_where_the_server_does_not_know_head(code: int) -> None:
    answer = for_get_alone(code, first_byte(b"xyz", '"v1"'))
    with serving({CSV: [answer]}) as (base, asked):
        assert publisher(base).look(YELLOW, JANUARY) == RemoteFile(base + CSV, '"v1"', MODIFIED, 3)
    assert asked == [CSV, CSV]


@pytest.mark.parametrize(
    ("then", "error"),
    [
        (status(404), None),
        (missing_in_s3(), None),
        (refused_by_cloudfront(), TransientError),
        (status(503), TransientError),
        (status(401), PermanentError),
        (status(405), PermanentError),
    ],
)
def test_what_get_is_answered_counts_where_head_was_refused(
    then: Answer, error: type[Exception] | None
) -> None:
    answers = {
        CSV: [status(302, Location="/signed")],
        "/signed": [for_get_alone(403, then)],
        PARQUET: [body(b"PAR1", '"v2"')],
    }
    with serving(answers) as (base, asked):
        if error:
            with pytest.raises(error, match=base + CSV):
                publisher(base).look(YELLOW, JANUARY)
            assert PARQUET not in asked
        else:
            found = publisher(base).look(YELLOW, JANUARY)
            assert found == RemoteFile(base + PARQUET, '"v2"', MODIFIED, 4)


def test_a_part_of_a_file_is_not_taken_for_it(tmp_path: Path) -> None:
    with (
        serving({CSV: [status(206)]}) as (base, _),
        pytest.raises(PermanentError, match="answered 206"),
    ):
        publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)


def test_a_mirror_that_answers_304_unasked_says_nothing_of_anothers_file(tmp_path: Path) -> None:
    with serving({CSV: [status(304)]}) as (base, _):
        elsewhere = FileVersion("http://elsewhere/x", '"v1"')
        with pytest.raises(PermanentError, match="answered 304 Not Modified; 200 was expected"):
            publisher(base).fetch_month(YELLOW, JANUARY, tmp_path, elsewhere)
