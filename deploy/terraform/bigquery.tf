# BigQuery: one dataset, in the bucket's location, since BigQuery loads from no other. Its
# tables are made by the platform.

resource "google_bigquery_dataset" "trips" {
  dataset_id  = var.dataset
  location    = var.location
  description = "Trips of New York's taxis, by taxi_pipeline: tables of trips, zones and marts."

  delete_contents_on_destroy = false

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [google_project_service.needed]
}
