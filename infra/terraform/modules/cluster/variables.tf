variable "name" {
  description = "Of the cluster, and prefix of names."
  type        = string
}

variable "kubernetes_version" {
  description = "One that the chart was validated against."
  type        = string
  default     = "1.33"

  validation {
    condition     = contains(["1.31", "1.33"], var.kubernetes_version)
    error_message = "1.31 or 1.33: the chart's manifests were validated against these (tests/infra/test_chart.py)."
  }
}

variable "subnet_ids" {
  description = "Private subnets in at least two zones."
  type        = list(string)

  validation {
    condition     = length(distinct(var.subnet_ids)) >= 2
    error_message = "At least two subnets, in two zones."
  }
}

variable "admin_cidrs" {
  description = "Ranges that may reach the control plane from outside; empty: from within the network alone."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.admin_cidrs : try(tonumber(split("/", cidr)[1]) >= 24, false)])
    error_message = "/24 or smaller: the control plane is not for the whole internet."
  }
}

variable "service_instance_types" {
  description = "Nodes of the service."
  type        = list(string)
  default     = ["m7i.xlarge"]
}

variable "n_max_service" {
  description = "Most nodes of the service."
  type        = number
  default     = 4

  validation {
    condition     = var.n_max_service >= 2
    error_message = "At least two: the disruption budget lets one go while the other serves."
  }
}

variable "gpu" {
  description = "GPU nodes for pretraining; null: none. Several instance types find spot capacity where one does not."
  default     = null
  type = object({
    instance_types  = list(string)
    n_max_spot      = number
    n_max_on_demand = number
  })

  validation {
    condition     = var.gpu == null ? true : length(var.gpu.instance_types) > 0 && alltrue([for kind in var.gpu.instance_types : can(regex("^(g|p)[0-9]", kind))])
    error_message = "Types with an NVIDIA GPU (g or p): the training image brings CUDA's libraries for nothing else."
  }

  validation {
    condition     = var.gpu == null ? true : var.gpu.n_max_spot >= 1 && var.gpu.n_max_spot <= 32 && var.gpu.n_max_on_demand >= 0
    error_message = "1 to 32 spot nodes: a wrong digit here is a month's budget in a night."
  }

  validation {
    condition     = var.gpu == null ? true : var.gpu.n_max_on_demand <= var.gpu.n_max_spot
    error_message = "No more on demand than spot: on demand is the fall-back, at about 2.5 times the price."
  }
}

variable "disk_gb" {
  description = "Of each node."
  type        = number
  default     = 100

  validation {
    condition     = var.disk_gb >= 50
    error_message = "At least 50 GB: the training image alone takes ten."
  }
}

variable "tags" {
  description = "Of all resources."
  type        = map(string)
  default     = {}
}
