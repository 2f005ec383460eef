variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "region" {
  description = "Region of everything."
  type        = string
}

variable "cidr" {
  description = "Private range, /16 to /20."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(regex("^(10[.]|192[.]168[.]|172[.](1[6-9]|2[0-9]|3[01])[.])", var.cidr)) && can(cidrhost(var.cidr, 0))
    error_message = "A private range (RFC 1918): others are somebody else's."
  }

  validation {
    condition     = try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 20, false)
    error_message = "/16 to /20: sixteen subnets of it must hold a cluster's pods."
  }
}

variable "zones" {
  description = "Availability zones."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 8 && length(distinct(var.zones)) == length(var.zones)
    error_message = "Two to eight different zones: one that fails must not take everything with it."
  }
}

variable "log_key_arn" {
  description = "KMS key of the log of flows."
  type        = string

  validation {
    condition     = startswith(var.log_key_arn, "arn:")
    error_message = "A key of your own: who talked to whom is not for everybody."
  }
}

variable "flow_log_days" {
  description = "Days that the log of flows is kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.flow_log_days)
    error_message = "One of the lengths that CloudWatch knows, 90 days at least: an intrusion is found months later."
  }
}

variable "tags" {
  description = "Of all resources."
  type        = map(string)
  default     = {}
}
