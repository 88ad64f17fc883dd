"""The heartbeat: calls to an outside monitor, which tells people when they do not come any more.

Knows how the monitor is called. Whether all is well is for `automation` to say.
"""

from typing import ClassVar
from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.classification import is_transient_status

_NOT_SHOWN = "Its URL (TAXI_HEARTBEAT_URL) is not shown here, for the secret in it."


class Heartbeat(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The monitor that is called while all is well; none is while there is no URL."""

    variables: ClassVar = {"url": "TAXI_HEARTBEAT_URL", "timeout": "TAXI_HEARTBEAT_TIMEOUT"}

    url: str = Field(
        default="",
        repr=False,
        exclude=True,
        json_schema_extra={"dagster__is_secret": True},
        description="The URL that the monitor gave for this platform (TAXI_HEARTBEAT_URL).",
    )
    timeout: int = Field(
        default=10, description="Seconds to wait for the monitor's answer (TAXI_HEARTBEAT_TIMEOUT)."
    )

    def beat(self) -> None:
        """Call the monitor; no message of ours shows its URL.

        Raises:
            PermanentError: The URL is none of HTTP's, or the monitor refuses the call.
            TransientError: The monitor was not reached, or is not well itself.
        """
        import requests
        from urllib3.exceptions import HTTPError

        self.check()
        problem = ""
        try:
            answer = requests.get(self.url, timeout=self.timeout, allow_redirects=False)
        except requests.Timeout:
            problem = f"did not answer within {self.timeout} s"
        # of a wrong proxy, or of its name, requests lets an error of urllib3's pass
        except (requests.RequestException, HTTPError):
            problem = "was not reached"
        # outside of `except`: the error of requests shows the URL
        if problem:
            raise TransientError(f"The monitor of heartbeats {problem}. {_NOT_SHOWN}")
        if answer.ok and not answer.is_redirect:
            return
        sentence = f"The monitor of heartbeats answered {answer.status_code}. {_NOT_SHOWN}"
        if is_transient_status(answer.status_code):
            raise TransientError(sentence)
        raise PermanentError(sentence)

    def check(self) -> None:
        """Raise `PermanentError` where the URL is none of HTTP's, or its host can be none."""
        from requests import PreparedRequest, RequestException

        try:
            PreparedRequest().prepare_url(self.url, {})
            # requests leaves empty labels, and those of more than 63 characters, to the connection
            (urlsplit(self.url).hostname or "").encode("idna")
            is_url = self.url.startswith(("http://", "https://"))
        except (RequestException, ValueError):
            is_url = False
        if not is_url:
            raise PermanentError(
                "TAXI_HEARTBEAT_URL: not an http(s) URL. It is not shown here, for its secret."
            )
