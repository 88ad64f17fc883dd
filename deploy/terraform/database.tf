# PostgreSQL in Cloud SQL, where var.database says so: one server with two databases, one for the
# trips and one for Dagster's own memory, each with a user of its name.

locals {
  databases = toset(var.database ? ["dagster", "trips"] : [])
  # without a server of ours, for people to fill in
  database_host = var.database ? google_sql_database_instance.postgres[0].private_ip_address : "HOST"
  database_urls = {
    for name in ["dagster", "trips"] : name => var.database
    ? "postgresql://${name}:${random_password.database[name].result}@${local.database_host}:5432/${name}?sslmode=require"
    : "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
  }
}

resource "google_sql_database_instance" "postgres" {
  count = var.database ? 1 : 0

  name                = "taxi-pipeline"
  region              = var.region
  database_version    = var.database_version
  deletion_protection = true

  settings {
    tier              = var.database_tier
    edition           = "ENTERPRISE"
    availability_type = var.database_availability
    disk_type         = "PD_SSD"
    disk_size         = var.database_disk_gb
    disk_autoresize   = true

    # reached from inside the network only, and encrypted there too
    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
    }
  }

  depends_on = [google_project_service.needed]
}

resource "google_sql_database" "databases" {
  for_each = local.databases

  name     = each.key
  instance = google_sql_database_instance.postgres[0].name
}

# No sign that a URL would have to encode.
resource "random_password" "database" {
  for_each = local.databases

  length  = 32
  special = false
}

resource "google_sql_user" "users" {
  for_each = local.databases

  name     = each.key
  instance = google_sql_database_instance.postgres[0].name
  password = random_password.database[each.key].result
}

# For people and clusters that may not read the state.
resource "google_secret_manager_secret" "passwords" {
  for_each = local.databases

  secret_id = "taxi-pipeline-postgres-${each.key}"

  replication {
    auto {}
  }

  depends_on = [google_project_service.needed]
}

resource "google_secret_manager_secret_version" "passwords" {
  for_each = local.databases

  secret      = google_secret_manager_secret.passwords[each.key].id
  secret_data = random_password.database[each.key].result
}
