"""What runs print, kept in the lake's bucket for webservers on other machines."""

from typing import Any

# What the manager that is extended here raises, which has no public name.
from dagster._check import CheckError
from dagster_gcp.gcs import GCSComputeLogManager

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.classification import classified


class BucketComputeLogManager(GCSComputeLogManager):
    """`GCSComputeLogManager` that says which bucket is missing."""

    def __init__(self, bucket: str, **settings: Any) -> None:
        """Find the bucket.

        Args:
            bucket: Its name, without gs://.
            settings: The other settings of `GCSComputeLogManager`.

        Raises:
            PermanentError: The bucket is not there, or may not be read.
            TransientError: Cloud Storage does not answer.
        """
        where = f"gs://{bucket}, where Dagster keeps what runs print"
        with classified(where):
            try:
                super().__init__(bucket, **settings)
            except CheckError as error:  # its words are "Invariant failed."
                raise PermanentError(
                    f"{where}: there is no such bucket. Check TAXI_BUCKET."
                ) from error
