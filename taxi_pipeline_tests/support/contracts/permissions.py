"""What Google asks a caller to be allowed for each kind of request, and what its roles allow.

BigQuery's are those that the discovery document's descriptions name ("# IAM Permissions"), which a
test compares; where these leave a job's own permissions to its kind, they are of the pages that
stand beside them. Cloud Storage's are of cloud.google.com/storage/docs/access-control/iam-json.
"""

from collections.abc import Iterable, Mapping, Set

_JOB = "bigquery.jobs.create"
_READ = "bigquery.tables.getData"
_WRITE = "bigquery.tables.updateData"

_NEEDED: Mapping[str, tuple[str, ...]] = {
    # The log manager of Dagster's asks whether the bucket exists.
    "storage.buckets.get": ("storage.buckets.get",),
    "storage.objects.list": ("storage.objects.list",),
    "storage.objects.get": ("storage.objects.get",),
    "storage.objects.get, bytes": ("storage.objects.get",),
    # "storage.objects.delete" where an object of the name is there, which is replaced
    "storage.objects.insert, multipart": ("storage.objects.create", "storage.objects.delete"),
    "storage.objects.insert, resumable": ("storage.objects.create", "storage.objects.delete"),
    "storage.objects.patch": ("storage.objects.update",),
    "storage.objects.delete": ("storage.objects.delete",),
    "bigquery.tables.get": ("bigquery.tables.get",),
    "bigquery.tables.insert, a table": ("bigquery.tables.create",),
    # ... and to read what it selects from: cloud.google.com/bigquery/docs/views
    "bigquery.tables.insert, a view": ("bigquery.tables.create", _READ),
    "bigquery.tables.patch, a table": ("bigquery.tables.update", "bigquery.tables.get"),
    "bigquery.tables.patch, a view": ("bigquery.tables.update", "bigquery.tables.get", _READ),
    "bigquery.tabledata.list": (_READ,),
    # cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet#required_permissions: a job
    # that creates no table needs no tables.create, and one URI without wildcard no objects.list
    "bigquery.jobs.insert, load": (
        *(_JOB, _WRITE, "bigquery.tables.update"),
        *("storage.buckets.get", "storage.objects.get"),
    ),
    # cloud.google.com/bigquery/docs/running-queries#required_permissions
    "bigquery.jobs.insert, SELECT": (_JOB, _READ),
    # cloud.google.com/bigquery/docs/writing-results#required_permissions
    "bigquery.jobs.insert, SELECT into a table": (_JOB, _READ, _WRITE),
    # cloud.google.com/bigquery/docs/data-manipulation-language
    "bigquery.jobs.insert, INSERT": (_JOB, _WRITE),
    # ... OR REPLACE: .../reference/standard-sql/data-definition-language#create_view_statement
    "bigquery.jobs.insert, CREATE VIEW": (
        *(_JOB, "bigquery.tables.create", "bigquery.tables.update", _READ),
    ),
    # Of jobs that the caller has started, which are all that the platform asks for.
    "bigquery.jobs.get": (_JOB,),
    "bigquery.jobs.cancel": (_JOB,),
    "bigquery.jobs.list": (),
    # Of `taxi doctor` alone. To ask what one may do needs nothing.
    "storage.buckets.testIamPermissions": (),
    "bigquery.tables.testIamPermissions": (),
    "cloudresourcemanager.projects.testIamPermissions": (),
    "bigquery.datasets.get": ("bigquery.datasets.get",),
    "bigquery.tables.delete": ("bigquery.tables.delete",),
}

# What `taxi doctor` needs beyond what runs need: it looks at the dataset, and drops what it made.
OF_THE_DOCTOR = frozenset({"bigquery.datasets.get", "bigquery.tables.delete"})

# What of Google's roles the platform uses: cloud.google.com/iam/docs/roles-permissions/storage and
# .../bigquery have all that they allow.
ROLES: Mapping[str, Set[str]] = {
    "roles/storage.objectUser": {
        *(f"storage.objects.{verb}" for verb in ("create", "delete", "get", "list", "update")),
    },
    "roles/storage.legacyBucketReader": {"storage.buckets.get", "storage.objects.list"},
    "roles/bigquery.jobUser": {"bigquery.jobs.create"},
    "roles/bigquery.dataEditor": {
        *(f"bigquery.tables.{verb}" for verb in ("create", "get", "getData", "update")),
        "bigquery.tables.updateData",
        *OF_THE_DOCTOR,
    },
}


def permissions_of(kind: str) -> tuple[str, ...]:
    """Return what a kind of request needs; raise `KeyError` for one that nobody has looked up."""
    return _NEEDED[kind]


def needed_by(kinds: Iterable[str]) -> set[str]:
    """Return what kinds of requests need, all together."""
    return {permission for kind in kinds for permission in permissions_of(kind)}
