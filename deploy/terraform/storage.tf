# The lake: one bucket, which nobody outside reaches, and how its objects age.

resource "google_storage_bucket" "lake" {
  name     = var.bucket
  location = var.location

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  # a month that is run again replaces its objects: for some days the old ones can be had back
  versioning {
    enabled = true
  }

  # else each old version would be kept, and paid for, seven days longer
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  lifecycle_rule {
    condition {
      with_state                 = "ARCHIVED"
      matches_prefix             = ["raw/", "cleaned/", "rejected/"]
      days_since_noncurrent_time = var.noncurrent_days
    }
    action {
      type = "Delete"
    }
  }

  # raw is read again only where its month is run again
  lifecycle_rule {
    condition {
      with_state            = "LIVE"
      matches_prefix        = ["raw/"]
      matches_storage_class = ["STANDARD"]
      age                   = var.raw_nearline_days
    }
    action {
      type          = "SetStorageClass"
      storage_class = "NEARLINE"
    }
  }

  lifecycle_rule {
    condition {
      with_state            = "LIVE"
      matches_prefix        = ["raw/"]
      matches_storage_class = ["STANDARD", "NEARLINE"]
      age                   = var.raw_coldline_days
    }
    action {
      type          = "SetStorageClass"
      storage_class = "COLDLINE"
    }
  }

  # aged, and never deleted: without its rejected rows, which the ledger reads, no month adds up
  lifecycle_rule {
    condition {
      with_state            = "LIVE"
      matches_prefix        = ["rejected/"]
      matches_storage_class = ["STANDARD"]
      age                   = var.rejected_nearline_days
    }
    action {
      type          = "SetStorageClass"
      storage_class = "NEARLINE"
    }
  }

  # what runs have printed (the prefix is that of deploy/dagster.yaml)
  lifecycle_rule {
    condition {
      with_state     = "LIVE"
      matches_prefix = ["dagster-logs/"]
      age            = 90
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      with_state                 = "ARCHIVED"
      matches_prefix             = ["dagster-logs/", "status/"]
      days_since_noncurrent_time = 1
    }
    action {
      type = "Delete"
    }
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [google_project_service.needed]
}
