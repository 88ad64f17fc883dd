import logging

import pytest

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.heartbeat import Heartbeat
from taxi_pipeline_tests.support.http import serving, silent, status

SECRET = "s3cr3t-t0k3n"


def test_a_beat_is_one_call_of_the_url() -> None:
    with serving({f"/{SECRET}?x=1": [status(200)]}) as (url, asked):
        Heartbeat(url=f"{url}/{SECRET}?x=1").beat()
    assert asked == [f"/{SECRET}?x=1"]


@pytest.mark.parametrize(
    ("code", "error"),
    [(404, PermanentError), (302, PermanentError), (503, TransientError), (429, TransientError)],
)
def test_an_answer_that_is_no_success_is_named_without_the_url(
    code: int, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    with (
        serving({f"/{SECRET}": [status(code, Location=f"/{SECRET}")]}) as (url, asked),
        caplog.at_level(logging.INFO),
        pytest.raises(error, match=f"monitor of heartbeats answered {code}") as caught,
    ):
        Heartbeat(url=f"{url}/{SECRET}").beat()
    assert len(asked) == 1
    assert SECRET not in f"{caught.getrepr(chain=True)}{caplog.text}"


def test_a_monitor_that_is_away_or_silent_is_transient_and_shows_no_url() -> None:
    with silent() as url, pytest.raises(TransientError, match="answer within 1 s") as slow:
        Heartbeat(url=f"{url}/{SECRET}", timeout=1).beat()
    with pytest.raises(TransientError, match="was not reached") as away:
        Heartbeat(url=f"http://127.0.0.1:9/{SECRET}").beat()
    for caught in (slow, away):
        # Dagster shows an error's context, too
        assert caught.value.__context__ is None
        assert SECRET not in str(caught.getrepr(chain=True))


@pytest.mark.parametrize("proxy", ["http://", "ftp://127.0.0.1", "http://a..b:80"])
def test_a_proxy_that_is_set_wrongly_is_named_without_the_url(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(TransientError, match="was not reached") as caught:
        Heartbeat(url=f"http://{SECRET}.example.org/").beat()
    assert caught.value.__context__ is None
    assert SECRET not in str(caught.getrepr(chain=True))


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"ftp://h/{SECRET}",
        f"http://[{SECRET}",
        f"http://{SECRET}..example.org/",
        f"http://{SECRET}{'x' * 63}.example.org/",
    ],
)
def test_what_is_no_url_is_named_by_its_variable(url: str) -> None:
    with pytest.raises(PermanentError) as caught:
        Heartbeat(url=url).beat()
    assert str(caught.value).startswith("TAXI_HEARTBEAT_URL: ")
    assert caught.value.__context__ is None
    assert SECRET not in str(caught.getrepr(chain=True)).replace(f"url = '{url}'", "")
    assert SECRET not in repr(Heartbeat(url=url))
