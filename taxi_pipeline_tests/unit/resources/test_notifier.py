import logging
import sys
from http.server import BaseHTTPRequestHandler
from threading import Event

import pytest

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.settings import resources_for_dagster
from taxi_pipeline_tests.support.http import receiving, serving, status

SECRET = "s3cr3t-t0k3n"


def test_a_message_arrives_as_it_was_written() -> None:
    body = "1 < 2 & *this* is _plain_\n- so is this\nhttp://127.0.0.1:3000/runs/b_c"
    with receiving() as (url, received):
        Notifier(url=url).send("green 2021-03 failed", body)
    ((title, message),) = [(found["title"], found["message"]) for found in received]
    assert (title, message) == ("green 2021-03 failed", body)


@pytest.mark.parametrize("between", [",", " ", ", "])
def test_several_urls_all_get_it(between: str) -> None:
    with receiving() as (one, first), receiving() as (two, second):
        Notifier(url=f"{one}{between}{two}").send("title", "body")
    assert [message["title"] for message in (*first, *second)] == ["title", "title"]


def test_without_a_url_nothing_is_sent_and_apprise_is_not_even_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # that to import the notifier does not import it is for test_imports to see
    monkeypatch.delitem(sys.modules, "apprise", raising=False)
    Notifier().send("title", "body")
    assert "apprise" not in sys.modules


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"slac://{SECRET}/b/c",
        f"slack://{SECRET}",
        f"https://hooks.example.org/{SECRET}/x",
        f"json://127.0.0.1:9/{SECRET}, slac://{SECRET}/b/c",
        " , ",
    ],
)
def test_a_url_that_apprise_does_not_understand_names_its_variable_and_no_secret(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(PermanentError) as caught:
        Notifier(url=url).send("title", "body")
    assert str(caught.value).startswith("TAXI_NOTIFY_URL: ")
    assert SECRET not in f"{caught.getrepr(chain=True)}{caplog.text}{capfd.readouterr()}"


def test_a_service_that_refuses_is_tried_thrice_then_transient_and_shows_no_secret(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        receiving(500) as (refusing, refused),
        pytest.raises(TransientError, match=r"'title' could not be sent .*: JSON could") as caught,
    ):
        Notifier(url=refusing.replace("//", f"//me:{SECRET}@")).send("title", "body")
    assert len(refused) == 3
    assert SECRET not in f"{caught.value}{caplog.text}{capfd.readouterr()}"


def test_a_message_that_one_of_two_services_takes_is_only_a_warning(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    # who sends would try again, and the one that took it would get it again each time
    with receiving(500) as (refusing, refused), receiving() as (url, received):
        Notifier(url=f"{refusing.replace('//', f'//me:{SECRET}@')} {url}").send("title", "body")
    assert (len(refused), len(received)) == (3, 1)
    shown = f"{caplog.text}{capfd.readouterr()}"
    assert "'title' could not be sent to every service of TAXI_NOTIFY_URL: JSON could" in shown
    assert SECRET not in shown


def test_a_service_that_takes_too_long_is_transient() -> None:
    released = Event()

    def late(request: BaseHTTPRequestHandler) -> None:
        released.wait(30)
        status(200)(request)

    with serving({"/": [late]}) as (url, _):
        patient = f"{url.replace('http', 'json')}/?rto=60"
        with pytest.raises(TransientError, match="TAXI_NOTIFY_URL"):
            Notifier(url=patient, timeout=1).send("title", "body")
        released.set()


def test_a_service_that_is_not_there_is_transient() -> None:
    with receiving() as (url, _):
        pass
    with pytest.raises(TransientError, match="TAXI_NOTIFY_URL"):
        Notifier(url=url).send("title", "body")


def test_the_environment_says_where_people_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXI_NOTIFY_URL", "")
    assert resources_for_dagster().notifier.url == ""
    monkeypatch.setenv("TAXI_NOTIFY_URL", f"slack://{SECRET}/b/c")
    assert SECRET not in repr(
        resources_for_dagster().notifier
    )  # Dagster reads it when a run starts


def test_its_repr_shows_no_secret() -> None:
    assert SECRET not in repr(Notifier(url=f"slack://{SECRET}/b/c"))
