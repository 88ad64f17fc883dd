# The project, and which of Google's services it needs.

provider "google" {
  project = var.project
  region  = var.region
}

resource "google_project_service" "needed" {
  for_each = toset(concat(
    ["bigquery.googleapis.com", "iam.googleapis.com", "storage.googleapis.com"],
    var.database ? ["secretmanager.googleapis.com", "sqladmin.googleapis.com"] : [],
  ))

  service            = each.key
  disable_on_destroy = false # others may use it
}
