"""Google's clients by way of dagster-gcp, with the credentials that the surroundings call for.

Only what Cloud Storage and BigQuery share belongs here. The module is imported where a client is
made and not before: dagster-gcp takes seconds to import.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import google.auth
from dagster_gcp import BigQueryResource, GCSResource
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import DefaultCredentialsError, MalformedError
from google.cloud import bigquery, storage
from google.oauth2.service_account import Credentials as ServiceAccount

from taxi_pipeline.errors import PermanentError

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

# Else Cloud Storage's client asks for the bucket's place too, in a thread and with retries.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")


class CloudStorage(GCSResource):
    """`GCSResource` that takes a key from GCP_CREDENTIALS too."""

    def get_client(self) -> storage.Client:
        """Return a client; the emulator's (STORAGE_EMULATOR_HOST) needs no credentials.

        Raises:
            PermanentError: There are no credentials, or GCP_CREDENTIALS is no key.
        """
        credentials = _credentials("STORAGE_EMULATOR_HOST")
        if credentials is None:
            with _missing_credentials_named():
                return super().get_client()
        return storage.Client(project=self.project, credentials=credentials)


class GoogleBigQuery(BigQueryResource):
    """`BigQueryResource` that works with an emulator and takes a key from GCP_CREDENTIALS too."""

    @contextmanager
    def get_client(self) -> Iterator[bigquery.Client]:
        """Yield a client as `client` returns it, closed at the end."""
        with self.client() as client:
            yield client

    def client(self) -> bigquery.Client:
        """Return a client whose connections stay open for the next call.

        It finds the emulator (BIGQUERY_EMULATOR_HOST), which needs no credentials, by itself.

        Raises:
            PermanentError: There are no credentials, or GCP_CREDENTIALS is no key.
        """
        with _missing_credentials_named():
            return bigquery.Client(
                project=self.project,
                location=self.location,
                credentials=_credentials("BIGQUERY_EMULATOR_HOST"),
            )


def find_credentials(emulator_variable: str) -> Credentials:
    """Return the credentials that a client of ours gets.

    Args:
        emulator_variable: The variable that names the emulator of what the client asks.

    Raises:
        PermanentError: There are no credentials, or GCP_CREDENTIALS is no key.
    """
    if credentials := _credentials(emulator_variable):
        return credentials
    with _missing_credentials_named():
        default: Credentials = google.auth.default(scopes=_SCOPES)[0]
        return default


def _credentials(emulator_variable: str) -> Credentials | None:
    """Return anonymous credentials for an emulator, GCP_CREDENTIALS' if set, else None for ADC.

    GCP_CREDENTIALS is a service account's key in base64, for containers, which have no key file.
    """
    if os.environ.get(emulator_variable):
        return AnonymousCredentials()
    encoded = os.environ.get("GCP_CREDENTIALS")
    if not encoded:
        return None
    try:
        key = json.loads(base64.b64decode("".join(encoded.split()), validate=True))
        credentials: Credentials = ServiceAccount.from_service_account_info(key, scopes=_SCOPES)
    except (binascii.Error, ValueError, AttributeError, TypeError, MalformedError):
        # the cause would carry the key into the logs
        raise PermanentError(
            "GCP_CREDENTIALS is not a service account's key in base64: set it to the output of "
            "`base64 -w0 KEY.json`."
        ) from None
    return credentials


@contextmanager
def _missing_credentials_named() -> Iterator[None]:
    try:
        yield
    except DefaultCredentialsError as error:
        raise PermanentError(
            f"No Google credentials ({error}): run `gcloud auth application-default login`, or set "
            "GOOGLE_APPLICATION_CREDENTIALS to a key's path or GCP_CREDENTIALS to a key in base64."
        ) from error
