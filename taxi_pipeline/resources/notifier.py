"""The notifier: messages to people, through whatever service Apprise can reach.

Knows how a message leaves. What is worth telling, and in which words, is for `automation`.
"""

import logging
from typing import TYPE_CHECKING, ClassVar

import dagster as dg
from pydantic import Field

from taxi_pipeline.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from apprise import Apprise

_RETRIES = 2  # half a second apart, unless the URL says otherwise: ?retry=3&wait=1


class Notifier(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where people are told; nobody is while there is no URL."""

    variables: ClassVar = {"url": "TAXI_NOTIFY_URL", "timeout": "TAXI_NOTIFY_TIMEOUT"}

    url: str = Field(
        default="",
        repr=False,
        exclude=True,
        json_schema_extra={"dagster__is_secret": True},
        description="URLs of Apprise, separated by commas or spaces (TAXI_NOTIFY_URL).",
    )
    # a sensor has 60 seconds, and may send five messages
    timeout: int = Field(
        default=8, description="Seconds for a message with its retries (TAXI_NOTIFY_TIMEOUT)."
    )

    def send(self, title: str, body: str) -> str | None:
        """Send a message to every URL; do nothing where there is none.

        A service that did not take it is a warning where others did: they would get it again and
        again if its sender tried again. No message of ours shows a URL.

        Args:
            title: The title.
            body: The message, in plain text.

        Returns:
            Which service did not take it, as a sentence; None where all did.

        Raises:
            PermanentError: A URL is none of Apprise's.
            TransientError: No service took the message.
        """
        if not self.url:
            return None
        from apprise import NotifyFormat

        result = self.services().notify(
            body=body, title=title, body_format=NotifyFormat.TEXT, timeout=float(self.timeout)
        )
        if result:
            return None
        refusing = ", ".join(service.name for service in result.results if not service)
        problem = (
            f"'{title}' could not be sent to every service of TAXI_NOTIFY_URL: {refusing} "
            "could not be reached or refused it."
        )
        if not result.success_count:
            raise TransientError(problem)
        dg.get_dagster_logger().warning(problem)
        return problem

    def services(self) -> "Apprise":
        """Return the services that the URLs name; raise `PermanentError` where one names none."""
        from apprise import Apprise, AppriseAsset

        # it writes URLs, and with them their secrets, into the log
        logging.getLogger("apprise").disabled = True
        services = Apprise(asset=AppriseAsset(default_service_retry=_RETRIES))
        if not services.add(self.url):
            raise PermanentError(
                "TAXI_NOTIFY_URL: not a URL that Apprise understands, or one of several is not. It "
                "is not shown here, for the secrets in it; https://appriseit.com has each "
                "service's form."
            )
        return services
