"""The notifier: whom to tell, by one of Apprise's URLs. What is worth it is for others to say."""

import dagster as dg
from pydantic import Field

from taxi_pipeline.errors import TransientError


class Notifier(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where messages go; nowhere without a URL."""

    url: str = Field(default="", repr=False, description="One of Apprise's URLs (TAXI_NOTIFY_URL).")

    def send(self, title: str, body: str) -> None:
        """Tell; raise `TransientError` where the message did not arrive."""
        if not self.url:
            return
        import apprise

        target = apprise.Apprise()
        if not (target.add(self.url) and target.notify(body, title)):
            raise TransientError("The message did not reach the address in TAXI_NOTIFY_URL.")
