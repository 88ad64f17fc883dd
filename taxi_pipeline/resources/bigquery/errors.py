"""What BigQuery's failures mean: which of them a retry can cure, and what to do about others."""

from taxi_pipeline.io.classification import Diagnosis, diagnose_http, reason_of

# Of a job, beside what all of Google's APIs say. By
# https://docs.cloud.google.com/bigquery/docs/error-messages.
TRANSIENT_REASONS = {
    "jobBackendError": "BigQuery failed in the job",
    "jobInternalError": "BigQuery failed in the job",
    "jobRateLimitExceeded": "too many jobs in a short time",
    "stopped": "somebody cancelled the job, or it took longer than it may",
    "tableUnavailable": "the table is being moved",
}

_TOO_MANY_BYTES = "bytesBilledLimitExceeded"

# What to do, by HTTP status or reason.
ADVICE: dict[int | str, str] = {
    403: "Grant the credentials in use the right to run and list jobs in TAXI_GCP_PROJECT and to "
    "edit TAXI_DATASET.",
    _TOO_MANY_BYTES: "TAXI_BIGQUERY_MAXIMUM_BYTES_BILLED is how many bytes a query may bill.",
    404: "Check TAXI_GCP_PROJECT and TAXI_DATASET, and that the dataset exists.",
}


def diagnose(error: Exception) -> Diagnosis | None:
    """Return what an error of BigQuery's client means.

    Args:
        error: An error of the client, or one that `diagnose_http` knows.

    Returns:
        The diagnosis; None for an error that no system outside has caused.
    """
    reason = reason_of(error)
    if reason in TRANSIENT_REASONS:
        return Diagnosis(transient=True)
    if reason == _TOO_MANY_BYTES:
        return Diagnosis(transient=False, signs=(_TOO_MANY_BYTES,))
    return diagnose_http(error)
