"""The list of the checks, in the order in which they are made."""

from taxi_pipeline.doctor import (
    bigquery,
    dagster,
    google,
    machine,
    notifier,
    postgres,
    publisher,
    settings,
    storage,
)
from taxi_pipeline.doctor.finding import Check

# Writes nothing.
READING = (
    Check("settings", settings.check_settings),
    Check("credentials", google.check_credentials),
    Check("bucket", storage.check_bucket, ("credentials",)),
    Check("bucket permissions", storage.check_bucket_permissions, ("bucket",)),
    Check("dataset", bigquery.check_dataset, ("credentials",)),
    Check("location", bigquery.check_location, ("bucket", "dataset")),
    Check("project permissions", google.check_project_permissions, ("credentials",)),
    Check("dataset permissions", bigquery.check_dataset_permissions, ("credentials",)),
    Check("partitions", bigquery.check_pruning, ("dataset",)),
    Check("Dagster's instance", dagster.check_instance),
    Check("PostgreSQL", postgres.check_server),
    Check("PostgreSQL's rights", postgres.check_rights, ("PostgreSQL",)),
    Check("PostgreSQL's limits", postgres.check_limits, ("PostgreSQL",)),
    Check("publisher, old month", publisher.check_old_month),
    Check("publisher, newest month", publisher.check_newest_month),
    Check("Dagster's pools", dagster.check_pools, ("Dagster's instance",)),
    Check("Dagster's daemon", dagster.check_daemon, ("Dagster's instance",)),
    Check("Dagster's webserver", dagster.check_webserver),
    Check("scratch disk", machine.check_scratch),
)

# Writes into the stores, and takes it away again.
WRITING = (
    Check("write an object", storage.check_object, ("bucket",)),
    Check("load a table", bigquery.check_load, ("bucket", "dataset")),
)

# Sends a message.
NOTIFYING = (Check("send a message", notifier.check_notifier),)
