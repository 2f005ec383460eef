# Pretraining alone: GPUs on spot with a smaller number on demand, shards in their own bucket, a budget that speaks early.

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

resource "aws_kms_key" "logs" {
  description             = "Log of flows of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = local.tags
}

module "network" {
  source      = "../../modules/network"
  name        = var.name
  region      = var.region
  zones       = var.zones
  log_key_arn = aws_kms_key.logs.arn
  tags        = local.tags
}

module "cluster" {
  source     = "../../modules/cluster"
  name       = var.name
  subnet_ids = module.network.private_subnet_ids
  disk_gb    = 200
  tags       = local.tags

  gpu = {
    instance_types  = var.instance_types
    n_max_spot      = var.n_max_spot
    n_max_on_demand = 1
  }
}

# Shards hold no names; they are recordings all the same.
module "shards" {
  source = "../../modules/storage"
  name   = "${var.name}-shards"
  tags   = local.tags
}

# Nodes read shards and write runs; checkpoints may be written again, nothing may be deleted.
data "aws_iam_policy_document" "shards" {
  statement {
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${module.shards.bucket_arn}/*"]
  }

  statement {
    actions   = ["s3:ListBucket"]
    resources = [module.shards.bucket_arn]
  }

  statement {
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
    resources = [module.shards.key_arn]
  }
}

resource "aws_iam_role_policy" "shards" {
  name   = "${var.name}-shards"
  role   = module.cluster.node_role_name
  policy = data.aws_iam_policy_document.shards.json
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

variable "instance_types" {
  description = "With NVIDIA GPUs; several find spot capacity where one does not. cerebeam cost prices them."
  type        = list(string)
  default     = ["p4d.24xlarge", "p4de.24xlarge"]
}

variable "n_max_spot" {
  description = "Most spot nodes: pretraining.nodes of the chart."
  type        = number
  default     = 2
}

variable "usd_a_month" {
  description = "Budget."
  type        = number
}

variable "emails" {
  description = "Who hears of the budget."
  type        = list(string)
}
