"""What a URL among the settings must not hold."""

from taxi_pipeline.errors import PermanentError


def refuse_secrets(text: str, variable: str) -> None:
    """Raise `PermanentError` where the URLs of a setting may hold a secret: an @, a ? or a #.

    Args:
        text: The setting's value, malformed or not.
        variable: The environment variable, for the message, which does not show the value.
    """
    if set("@?#") & set(text):
        raise PermanentError(
            f"{variable}: a URL must have no user, password, query or fragment. People are shown "
            "it, in the UI, in messages and on what was fetched from it; so this one is not shown "
            "here."
        )
