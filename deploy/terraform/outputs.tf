# What the platform is told: the variables of .env.example, and what deploy/kubernetes asks for.

output "env" {
  description = "The settings that are no secret, as lines of a .env."
  value       = <<-EOT
    TAXI_GCP_PROJECT=${var.project}
    TAXI_BUCKET=${google_storage_bucket.lake.name}
    TAXI_DATASET=${google_bigquery_dataset.trips.dataset_id}
    TAXI_PUBLISHER_URLS=${var.publisher_urls}
    TAXI_ZONES_URL=${var.zones_url}
    GOOGLE_CLOUD_PROJECT=${var.project}
  EOT
}

output "secret_env" {
  description = "The settings that hold a password, as lines of a .env."
  sensitive   = true
  value       = <<-EOT
    TAXI_POSTGRES_URL=${local.database_urls["trips"]}
    DAGSTER_POSTGRES_URL=${local.database_urls["dagster"]}
  EOT
}

output "kubernetes" {
  description = "What deploy/kubernetes/values.yaml asks for besides the image, for a shell."
  value       = <<-EOT
    export TAXI_SERVICE_ACCOUNT=${google_service_account.taxi.email}
    export DAGSTER_POSTGRES_HOST=${local.database_hosts["dagster"]}
  EOT
}
