# What a pilot keeps in the cloud: recordings, backups, the audit log's second sink, a budget. The cluster is yours.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.100" }
  }
}

provider "aws" {
  region = var.region
}

module "recordings" {
  source                = "../../modules/storage"
  name                  = "${var.name}-recordings"
  infrequent_after_days = 60
  tags                  = local.tags
}

module "backups" {
  source    = "../../modules/storage"
  name      = "${var.name}-backups"
  lock_days = 30
  tags      = local.tags
}

module "audit" {
  source      = "../../modules/audit"
  name        = var.name
  account     = var.account
  bucket_arns = [module.recordings.bucket_arn, module.backups.bucket_arn]
  tags        = local.tags
}

module "budget" {
  source      = "../../modules/budget"
  name        = var.name
  usd_a_month = var.usd_a_month
  emails      = var.emails
}

locals {
  tags = { project = var.name }
}

variable "name" {
  description = "Prefix of all names; buckets' names are unique in the world."
  type        = string
}

variable "region" {
  description = "Region of everything."
  type        = string
}

variable "account" {
  description = "Number of the account."
  type        = string
}

variable "usd_a_month" {
  description = "Budget."
  type        = number
}

variable "emails" {
  description = "Who hears of the budget."
  type        = list(string)
}
