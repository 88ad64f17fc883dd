# Which Terraform and which providers this is written for, and where the state lies.

terraform {
  required_version = ">= 1.9" # a variable's validation may look at another variable

  required_providers {
    google = {
      source = "hashicorp/google"
      # the first that leaves the dataset's other rights alone when it changes the dataset
      version = ">= 7.45, < 8.0"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.6"
    }
  }

  # The state holds the passwords of the database: it belongs into a bucket of its own, which few may
  # read. terraform init -backend-config=bucket=NAME
  backend "gcs" {
    prefix = "taxi_pipeline"
  }
}
