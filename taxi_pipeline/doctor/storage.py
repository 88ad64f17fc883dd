"""Cloud Storage: the bucket, what we may do with it, and whether it keeps to preconditions.

What is written has a name under `doctor/`, which nothing else of ours reads or writes.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from taxi_pipeline.doctor.context import Context
from taxi_pipeline.doctor.finding import Finding, failed, ok, skipped
from taxi_pipeline.doctor.google import NO_ACCESS_MANAGEMENT, compare_permissions
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.classification import classified
from taxi_pipeline.io.permissions import BUCKET_PERMISSIONS

if TYPE_CHECKING:
    from google.cloud import storage

FOLDER = "doctor/"

_ADVICE = {
    403: "See the check bucket permissions.",
    404: "Make the bucket, or check TAXI_BUCKET.",
}


def check_bucket(context: Context) -> Finding:
    """Check that the bucket is there."""
    from google.api_core.exceptions import Forbidden

    uri = f"gs://{context.lake.bucket}"
    with classified(uri, _ADVICE):
        try:
            context.bucket.reload(**context.call_options)
        except Forbidden:  # what we may do with it can be asked all the same
            return failed(
                f"{uri} is there, but storage.buckets.get is not granted, or it is not yours: see "
                "the check bucket permissions.",
                blocking=False,
            )
    return ok(f"{uri} in {context.bucket.location}", location=context.bucket.location)


def check_bucket_permissions(context: Context) -> Finding:
    """Check what we may do with the bucket and its objects."""
    if context.emulated:
        return skipped(NO_ACCESS_MANAGEMENT)
    uri = f"gs://{context.lake.bucket}"
    with classified(uri):
        granted = context.bucket.test_iam_permissions([*BUCKET_PERMISSIONS], **context.call_options)
    return compare_permissions(BUCKET_PERMISSIONS, granted, uri)


def check_object(context: Context) -> Finding:
    """Check that an object can be put, read, replaced and deleted, by its generation alone."""
    from google.api_core.exceptions import PreconditionFailed

    with written_object(context, b"first") as blob, classified(f"gs://{blob.bucket.name}"):
        first = blob.generation
        content = blob.download_as_bytes(if_generation_match=first, **context.call_options)
        if content != b"first":
            return failed(f"{blob.name}: other bytes were read than were written.")
        blob.upload_from_string(b"second", if_generation_match=first, **context.call_options)
        try:
            blob.upload_from_string(b"third", if_generation_match=first, **context.call_options)
        except PreconditionFailed:
            return ok(f"gs://{blob.bucket.name}/{blob.name} put, read, replaced and deleted")
    return failed(
        "an object was replaced by one that named a generation which was not there any more: the "
        "store does not keep to preconditions, and runs side by side would lose files."
    )


@contextmanager
def written_object(context: Context, content: bytes) -> "Iterator[storage.Blob]":
    """Write an object of a new name; delete it at the end.

    Raises:
        PermanentError: It cannot be written or deleted, as trying again would not change.
        TransientError: The same, as trying again may change.
    """
    blob = context.bucket.blob(f"{FOLDER}{uuid4().hex}")
    uri = f"gs://{context.lake.bucket}/{blob.name}"
    try:
        with classified(uri, _ADVICE):
            blob.upload_from_string(content, if_generation_match=0, **context.call_options)
    except TransientError:  # the answer alone may have been lost
        _delete(context, blob, uri)
        raise
    try:
        yield blob
    finally:
        _delete(context, blob, uri)


def _delete(context: Context, blob: "storage.Blob", uri: str) -> None:
    from google.api_core.exceptions import NotFound

    try:
        with classified(uri, _ADVICE), suppress(NotFound):
            blob.delete(**context.call_options)
    except (PermanentError, TransientError) as error:
        raise type(error)(f"{error} It was left behind: delete it.") from error
