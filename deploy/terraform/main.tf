# The project, and which of Google's services it needs.

provider "google" {
  project = var.project
  region  = var.region
}

resource "google_project_service" "needed" {
  for_each = toset(concat(
    [
      "bigquery",
      "cloudresourcemanager", # a role on the project is written by it
      "iam",
      "iamcredentials", # pods get the service account's tokens from it
      "storage",
    ],
    var.database ? ["compute", "secretmanager", "servicenetworking", "sqladmin"] : [],
  ))

  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false # others may use it
}
