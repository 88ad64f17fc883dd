"""What the platform asks Google's access management (IAM) for, by what the rights are granted on.

The roles of deploy/terraform grant these, and `taxi doctor` asks for them.
"""

BUCKET_PERMISSIONS = (
    "storage.buckets.get",
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
    "storage.objects.update",
)
PROJECT_PERMISSIONS = ("bigquery.jobs.create",)
DATASET_PERMISSIONS = (
    "bigquery.tables.create",
    "bigquery.tables.get",
    "bigquery.tables.getData",
    "bigquery.tables.update",
    "bigquery.tables.updateData",
)
