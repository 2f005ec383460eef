variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "region" {
  description = "Region of everything."
  type        = string
}

variable "account" {
  description = "Number of the account."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account))
    error_message = "Twelve digits."
  }
}

variable "rules" {
  description = "Content of infra/monitoring/alerts.yml."
  type        = string

  validation {
    condition     = try(length(flatten([for group in yamldecode(var.rules).groups : group.rules])) > 0, false)
    error_message = "Rules of Prometheus with at least one alert: silence is not health."
  }
}

variable "emails" {
  description = "Who is written to."
  type        = list(string)

  validation {
    condition     = length(var.emails) > 0 && alltrue([for email in var.emails : can(regex("^[^@ ]+@[^@ ]+[.][^@ ]+$", email))])
    error_message = "At least one address: an alarm that nobody hears is none."
  }
}

variable "log_days" {
  description = "Days that the service's log lines are kept; they hold no content."
  type        = number
  default     = 365

  validation {
    condition     = contains([90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_days)
    error_message = "One of the lengths that CloudWatch knows, 90 days at least."
  }
}

variable "tags" {
  description = "Of all resources."
  type        = map(string)
  default     = {}
}
