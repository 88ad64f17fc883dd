# What differs between two deployments; what has no default must be said.

variable "project" {
  description = "The Google Cloud project's id. It pays for BigQuery's jobs (TAXI_GCP_PROJECT)."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project's id: 6 to 30 lower-case letters, digits and -."
  }
}

variable "bucket" {
  description = "The name of the lake's bucket, without gs:// (TAXI_BUCKET)."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "A bucket's name: 3 to 63 lower-case letters, digits, dots, - and _."
  }
}

variable "dataset" {
  description = "The name of the dataset (TAXI_DATASET)."
  type        = string
  default     = "trips_data_all"

  validation {
    condition     = can(regex("^[A-Za-z0-9_]+$", var.dataset))
    error_message = "A dataset's name: letters, digits and _."
  }
}

variable "location" {
  description = "Where bucket and dataset lie, both: best var.region, since reading across regions costs. It can be a multi-region, US or EU, too."
  type        = string
  default     = "us-east4"

  validation {
    condition     = can(regex("^([A-Z]{2}|[a-z]+-[a-z]+[0-9]+)$", var.location))
    error_message = "A location: US, EU or a region such as us-east4."
  }
}

variable "region" {
  description = "Where Cloud SQL runs: the cluster's region."
  type        = string
  default     = "us-east4"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region, such as us-east4."
  }
}

variable "service_account_id" {
  description = "The name of the platform's service account, up to its @."
  type        = string
  default     = "taxi-pipeline"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.service_account_id))
    error_message = "A service account's id: 6 to 30 lower-case letters, digits and -."
  }
}

variable "kubernetes_namespace" {
  description = "The namespace in GKE whose account taxi-pipeline is the service account; null without a cluster. The project must have a cluster with Workload Identity by then."
  type        = string
  default     = null

  validation {
    condition     = var.kubernetes_namespace == null || can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.kubernetes_namespace))
    error_message = "A namespace's name: lower-case letters, digits and -."
  }
}

variable "noncurrent_days" {
  description = "For how many days an object that was replaced or deleted can be had back."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "A whole number of days, from 1 on."
  }
}

variable "raw_nearline_days" {
  description = "After how many days a published file moves to NEARLINE."
  type        = number
  default     = 90

  validation {
    condition     = var.raw_nearline_days >= 1 && floor(var.raw_nearline_days) == var.raw_nearline_days
    error_message = "A whole number of days, from 1 on."
  }
}

variable "raw_coldline_days" {
  description = "After how many days a published file moves to COLDLINE."
  type        = number
  default     = 365

  validation {
    condition     = var.raw_coldline_days > var.raw_nearline_days && floor(var.raw_coldline_days) == var.raw_coldline_days
    error_message = "A whole number of days, more than raw_nearline_days."
  }
}

variable "rejected_nearline_days" {
  description = "After how many days rejected rows move to NEARLINE; they are never deleted."
  type        = number
  default     = 90

  validation {
    condition     = var.rejected_nearline_days >= 1 && floor(var.rejected_nearline_days) == var.rejected_nearline_days
    error_message = "A whole number of days, from 1 on."
  }
}

variable "database" {
  description = "Whether PostgreSQL is made in Cloud SQL; else the platform uses one that exists."
  type        = bool
  default     = false
}

variable "network" {
  description = "The network in which Cloud SQL has its private address, as projects/PROJECT/global/networks/NAME. It must have private services access."
  type        = string
  default     = null

  validation {
    condition     = var.network == null ? !var.database : can(regex("^projects/[^/]+/global/networks/[^/]+$", var.network))
    error_message = "With database = true: projects/PROJECT/global/networks/NAME."
  }
}

variable "database_version" {
  description = "Which PostgreSQL, as Cloud SQL calls it."
  type        = string
  default     = "POSTGRES_17"

  validation {
    condition     = can(regex("^POSTGRES_1[4-9]$", var.database_version))
    error_message = "POSTGRES_14 or newer."
  }
}

variable "database_tier" {
  description = "The machine of the server that has the trips."
  type        = string
  default     = "db-custom-2-7680"

  validation {
    condition     = can(regex("^db-", var.database_tier))
    error_message = "A tier of Cloud SQL, such as db-custom-2-7680."
  }
}

variable "dagster_database_tier" {
  description = "The machine of Dagster's own server. 20 runs at once need some 100 connections, of which shared cores have fewer."
  type        = string
  default     = "db-custom-1-3840"

  validation {
    condition     = can(regex("^db-", var.dagster_database_tier))
    error_message = "A tier of Cloud SQL, such as db-custom-1-3840."
  }
}

variable "database_availability" {
  description = "ZONAL, or REGIONAL for a second server in another zone, for each of the two, that takes over."
  type        = string
  default     = "ZONAL"

  validation {
    condition     = contains(["ZONAL", "REGIONAL"], var.database_availability)
    error_message = "ZONAL or REGIONAL."
  }
}

variable "database_disk_gb" {
  description = "The disk that the trips' server begins with, in GB. It grows by itself and never shrinks, and a larger one is faster: 700 for all of history."
  type        = number
  default     = 100

  validation {
    condition     = var.database_disk_gb >= 10
    error_message = "10 GB at least."
  }
}

variable "publisher_urls" {
  description = "Where published files come from (TAXI_PUBLISHER_URLS)."
  type        = string
  default     = "https://github.com/DataTalksClub/nyc-tlc-data/releases/download/{service}/{service}_tripdata_{month}.csv.gz,https://d37ci6vzurychx.cloudfront.net/trip-data/{service}_tripdata_{month}.parquet"

  validation {
    condition     = alltrue([for url in split(",", var.publisher_urls) : can(regex("^https?://.*\\{month\\}", url))])
    error_message = "URL templates with {month}, separated by commas."
  }
}

variable "zones_url" {
  description = "Where the taxi zones come from (TAXI_ZONES_URL)."
  type        = string
  default     = "https://d37ci6vzurychx.cloudfront.net/misc/taxi_zone_lookup.csv"

  validation {
    condition     = can(regex("^https?://", var.zones_url))
    error_message = "An http(s) URL."
  }
}
