"""Google Cloud beyond its two stores: who we are there, and what we may do in the project."""

import os
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from taxi_pipeline.doctor.context import ANSWER_SECONDS, EMULATORS, Context
from taxi_pipeline.doctor.finding import Finding, failed, ok, skipped
from taxi_pipeline.io.classification import classified
from taxi_pipeline.io.permissions import PROJECT_PERMISSIONS

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

NO_ACCESS_MANAGEMENT = "an emulator, which has no access management"

_RESOURCE_MANAGER = "https://cloudresourcemanager.googleapis.com"
_ROLES = {
    "storage.buckets.": "roles/storage.legacyBucketReader on the bucket",
    "storage.objects.": "roles/storage.objectUser on the bucket",
    "bigquery.jobs.": "roles/bigquery.jobUser on the project",
    "bigquery.tables.": "roles/bigquery.dataEditor on the dataset",
}


def check_credentials(context: Context) -> Finding:
    """Check that there are credentials with which Google gives a token; say whose they are."""
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import Request

    unset = [variable for variable in EMULATORS if not os.environ.get(variable)]
    if len(unset) == 1:
        (other,) = {*EMULATORS} - {*unset}
        return failed(f"{other} is set, and {unset[0]} is not: set both, or none.")
    credentials = context.credentials
    if not isinstance(credentials, AnonymousCredentials):
        with classified("Google gives no token for the credentials"):
            credentials.refresh(partial(Request(), timeout=ANSWER_SECONDS))
    return ok(identity_of(credentials))


def identity_of(credentials: "Credentials") -> str:
    """Return whose credentials they are, for people."""
    from google.auth import compute_engine
    from google.auth.credentials import AnonymousCredentials
    from google.oauth2.credentials import Credentials as UserCredentials

    if isinstance(credentials, AnonymousCredentials):
        return "anonymous: an emulator"
    email = getattr(credentials, "service_account_email", None)
    if isinstance(credentials, compute_engine.Credentials):
        return f"{email}, by the metadata server"
    if isinstance(credentials, UserCredentials):
        account = getattr(credentials, "account", "")
        return f"user credentials of {account}" if account else "user credentials"
    return str(email or f"credentials of the type {type(credentials).__name__}")


def check_project_permissions(context: Context) -> Finding:
    """Check what we may do in the project, by asking Resource Manager."""
    from google.auth.transport.requests import AuthorizedSession

    if context.emulated:
        return skipped(NO_ACCESS_MANAGEMENT)
    project = context.bigquery.project
    url = f"{_RESOURCE_MANAGER}/v1/projects/{project}:testIamPermissions"
    advice = {403: "Check TAXI_GCP_PROJECT."}
    with classified(url, advice), AuthorizedSession(context.credentials) as session:
        answer = session.post(
            url, json={"permissions": [*PROJECT_PERMISSIONS]}, timeout=ANSWER_SECONDS
        )
        if answer.status_code == 403 and "SERVICE_DISABLED" in answer.text:
            return skipped(
                "not asked: the project does not have Resource Manager's API enabled (gcloud "
                "services enable cloudresourcemanager.googleapis.com)"
            )
        answer.raise_for_status()
        granted = answer.json().get("permissions", [])
    return compare_permissions(PROJECT_PERMISSIONS, granted, f"the project {project}")


def compare_permissions(wanted: Iterable[str], granted: Iterable[str], where: str) -> Finding:
    """Return the finding of the permissions that are wanted and of those that are granted.

    Args:
        wanted: The permissions that the platform asks for.
        granted: Those of them that Google says we have.
        where: On what.
    """
    has = {*granted}
    missing = [permission for permission in wanted if permission not in has]
    if not missing:
        return ok(f"all on {where}")
    roles = {role for prefix, role in _ROLES.items() for name in missing if name.startswith(prefix)}
    return failed(
        f"{', '.join(missing)} not granted on {where}: grant {' and '.join(sorted(roles))}.",
        blocking=False,
        missing=missing,
        roles=sorted(roles),
    )
