# A hospital's own deployment: network, cluster, storage, audit sink, monitoring, budget. No GPU: answers need none.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.100" }
  }
}

provider "aws" {
  region = var.region
}

locals {
  tags = { project = var.name }
}

module "monitoring" {
  source  = "../../modules/monitoring"
  name    = var.name
  region  = var.region
  account = var.account
  rules   = file("${path.module}/../../../monitoring/alerts.yml")
  emails  = var.emails
  tags    = local.tags
}

module "network" {
  source      = "../../modules/network"
  name        = var.name
  region      = var.region
  zones       = var.zones
  log_key_arn = module.monitoring.log_key_arn
  tags        = local.tags
}

module "cluster" {
  source      = "../../modules/cluster"
  name        = var.name
  subnet_ids  = module.network.private_subnet_ids
  admin_cidrs = var.admin_cidrs
  tags        = local.tags
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

variable "name" {
  description = "Prefix of all names; buckets' names are unique in the world."
  type        = string
}

variable "region" {
  description = "Region of everything."
  type        = string
}

variable "zones" {
  description = "Two or more of its availability zones."
  type        = list(string)
}

variable "account" {
  description = "Number of the account."
  type        = string
}

variable "admin_cidrs" {
  description = "Your own ranges that may reach the control plane; empty: through the network alone."
  type        = list(string)
  default     = []
}

variable "usd_a_month" {
  description = "Budget."
  type        = number
}

variable "emails" {
  description = "Who hears of alarms and of the budget."
  type        = list(string)
}

output "cluster" {
  value       = module.cluster.name
  description = "For aws eks update-kubeconfig --name."
}

output "to_cidrs" {
  value       = module.network.private_cidrs
  description = "For networkPolicy.toCIDRs of the chart: where a database in this network lies."
}
