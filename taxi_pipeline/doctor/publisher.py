"""The publisher: whether it answers us, for an old month and for the newest that is due."""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

from taxi_pipeline.doctor.context import ANSWER_SECONDS, Context
from taxi_pipeline.doctor.finding import Finding, failed, ok
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.publisher.answers import Limit, ask_for_headers
from taxi_pipeline.resources.publisher.urls import url_templates
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline.tlc.text import printable

if TYPE_CHECKING:
    import requests

_OLD = Month(2021, 1)
_HEADERS = ("ETag", "Last-Modified", "Content-Length", "Server")


def check_old_month(context: Context) -> Finding:
    """Check that the publisher has a month that was published long ago."""
    answers = [*_answers(context, _OLD)]
    finding = _finding(answers)
    if finding or any("status" in answer for answer in answers):
        return finding or ok(_as_text(answers), answers=answers)
    return failed(
        f"{_as_text(answers)}. {YELLOW.name} {_OLD} was published long ago: check "
        "TAXI_PUBLISHER_URLS.",
        answers=answers,
    )


def check_newest_month(context: Context) -> Finding:
    """Check that the publisher does not refuse the newest month that is due, if it is late."""
    newest = Month.newest_published(date.today())  # noqa: DTZ011 - a day more or less is no matter
    answers = [*_answers(context, newest)]
    return _finding(answers) or ok(_as_text(answers), answers=answers)


def _finding(answers: list[dict[str, Any]]) -> Finding | None:
    """Return the finding where a URL could not be asked, or refused us; None where all answered."""
    problems = [answer["problem"] for answer in answers if "problem" in answer]
    if not problems:
        return None
    answered = [answer for answer in answers if "problem" not in answer]
    return failed(" ".join([*problems, _as_text(answered)]).rstrip(), answers=answers)


def _answers(context: Context, month: Month) -> Iterator[dict[str, Any]]:
    """Yield for each URL of a month its status and headers, or what is wrong; neither for none."""
    setting = "TAXI_PUBLISHER_LOOK_TIMEOUT"
    limit = Limit(min(context.publisher.look_timeout, ANSWER_SECONDS), setting)
    for template in url_templates(context.publisher.urls):
        url = template.format(service=YELLOW.name, month=month.key)
        try:
            answer = ask_for_headers(url, None, limit, _shown_headers)
            yield {"url": url, **(answer if isinstance(answer, dict) else {})}
        except (PermanentError, TransientError) as error:
            yield {"url": url, "problem": str(error)}


def _shown_headers(response: "requests.Response") -> dict[str, Any]:
    headers = response.headers
    chosen = {name: printable(headers[name], 100) for name in _HEADERS if name in headers}
    return {"status": response.status_code, "headers": chosen}


def _as_text(answers: list[dict[str, Any]]) -> str:
    texts = []
    for answer in answers:
        headers = "; ".join(f"{name}: {value}" for name, value in answer.get("headers", {}).items())
        status = answer.get("status", "does not have it")
        texts.append(f"{answer['url']} {status}{f' ({headers})' if headers else ''}")
    return ", ".join(texts)
