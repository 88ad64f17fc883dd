# PostgreSQL in Cloud SQL, where var.database says so: a server for the trips and one for Dagster's own
# memory, which a load of millions of rows must not slow down. Each has one database and one user, of
# its name.

locals {
  servers = {
    dagster = { tier = var.dagster_database_tier, disk_gb = 10 }
    trips   = { tier = var.database_tier, disk_gb = var.database_disk_gb }
  }
  databases = var.database ? local.servers : {}
  # without servers of ours, for people to fill in
  database_hosts = {
    for name in keys(local.servers) : name => var.database
    ? google_sql_database_instance.postgres[name].private_ip_address : "HOST"
  }
  database_urls = {
    for name, host in local.database_hosts : name => var.database
    ? "postgresql://${name}:${random_password.database[name].result}@${host}:5432/${name}?sslmode=require"
    : "postgresql://USER:PASSWORD@${host}:5432/DATABASE"
  }
}

resource "google_sql_database_instance" "postgres" {
  for_each = local.databases

  name                = "taxi-pipeline-${each.key}"
  region              = var.region
  database_version    = var.database_version
  deletion_protection = true

  settings {
    tier              = each.value.tier
    edition           = "ENTERPRISE"
    availability_type = var.database_availability
    disk_type         = "PD_SSD"
    disk_size         = each.value.disk_gb
    disk_autoresize   = true

    # small machines have 100, which 20 runs at once nearly are
    database_flags {
      name  = "max_connections"
      value = "200"
    }

    # reached from inside the network only, and encrypted there too
    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    # The trips come back from the lake, so nobody pays for copies of them; but a second server needs
    # a backup to begin with.
    backup_configuration {
      enabled                        = each.key == "dagster" || var.database_availability == "REGIONAL"
      point_in_time_recovery_enabled = each.key == "dagster" || var.database_availability == "REGIONAL"
    }
  }

  lifecycle {
    ignore_changes = [settings[0].disk_size] # it has grown since
  }

  depends_on = [google_project_service.needed]
}

# What it owns keeps a user or a database from being deleted; both go with their server.
resource "google_sql_database" "databases" {
  for_each = local.databases

  name            = each.key
  instance        = google_sql_database_instance.postgres[each.key].name
  deletion_policy = "ABANDON"
}

# No sign that a URL would have to encode.
resource "random_password" "database" {
  for_each = local.databases

  length  = 32
  special = false
}

resource "google_sql_user" "users" {
  for_each = local.databases

  name            = each.key
  instance        = google_sql_database_instance.postgres[each.key].name
  password        = random_password.database[each.key].result
  deletion_policy = "ABANDON"
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
