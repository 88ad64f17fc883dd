"""The publisher's URLs as the settings give them: what they must be like.

What a server answers there is `answers`'.
"""

import string
from urllib.parse import urlsplit

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.urls import refuse_secrets

_ENDINGS = (".csv.gz", ".parquet")
_ENDING_OF = {"TAXI_ZONES_URL": (".csv",), "TAXI_ZONE_SHAPES_URL": (".zip",)}


def url_templates(text: str) -> list[str]:
    """Return the templates of a service's and month's URL, in order of preference.

    Args:
        text: The value of TAXI_PUBLISHER_URLS.

    Raises:
        PermanentError: One is malformed, or holds a secret.
    """
    refuse_secrets(text, "TAXI_PUBLISHER_URLS")
    templates = [template.strip() for template in text.split(",")]
    for template in templates:
        try:
            parsed = list(string.Formatter().parse(template))
        except ValueError as error:
            raise PermanentError(
                f"TAXI_PUBLISHER_URLS: '{template}' is no URL template: {error}."
            ) from error
        fields = {name for _, name, _, _ in parsed if name is not None}
        if fields != {"service", "month"} or any(form or kind for _, _, form, kind in parsed):
            raise PermanentError(
                f"TAXI_PUBLISHER_URLS: '{template}' must have {{service}} and {{month}} in it "
                "and nothing else in braces; several templates are separated by commas."
            )
        _check_url(template, "TAXI_PUBLISHER_URLS", _ENDINGS)
    return templates


def check_file_url(url: str, variable: str) -> None:
    """Raise `PermanentError` where the one URL that a variable sets is malformed, or has a secret.

    Args:
        url: The URL.
        variable: TAXI_ZONES_URL or TAXI_ZONE_SHAPES_URL.
    """
    refuse_secrets(url, variable)
    _check_url(url, variable, _ENDING_OF[variable])


def _check_url(url: str, variable: str, endings: tuple[str, ...]) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise PermanentError(f"{variable}: '{url}' is not an http(s) URL.")
    if not parts.path.endswith(endings):
        raise PermanentError(f"{variable}: '{url}' must end in {' or '.join(endings)}.")
