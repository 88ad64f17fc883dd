# Who the platform is, and what it may do: README.md says for each role what calls for it.

resource "google_service_account" "taxi" {
  account_id   = var.service_account_id
  display_name = "taxi_pipeline"

  depends_on = [google_project_service.needed]
}

resource "google_storage_bucket_iam_member" "objects" {
  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.objectUser"
  member = google_service_account.taxi.member
}

resource "google_storage_bucket_iam_member" "bucket" {
  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.legacyBucketReader"
  member = google_service_account.taxi.member
}

resource "google_project_iam_member" "jobs" {
  project = var.project
  role    = "roles/bigquery.jobUser"
  member  = google_service_account.taxi.member
}

resource "google_bigquery_dataset_iam_member" "tables" {
  dataset_id = google_bigquery_dataset.trips.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.taxi.member
}

# Pods of that account in that namespace are this service account, and no key of it exists.
resource "google_service_account_iam_member" "pods" {
  count = var.kubernetes_namespace == null ? 0 : 1

  service_account_id = google_service_account.taxi.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${var.kubernetes_namespace}/taxi-pipeline]"
}
