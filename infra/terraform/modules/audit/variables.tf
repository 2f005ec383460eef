variable "name" {
  description = "Prefix of names."
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

variable "bucket_arns" {
  description = "Buckets whose every access is written down."
  type        = list(string)

  validation {
    condition     = length(var.bucket_arns) > 0
    error_message = "At least one bucket: a log of nothing proves nothing."
  }
}

variable "keep_days" {
  description = "Days that logs and checkpoints cannot be deleted."
  type        = number
  default     = 2190 # six years, 45 CFR 164.316(b)(2)(i)

  validation {
    condition     = var.keep_days >= 2190
    error_message = "At least 2190 days: 45 CFR 164.316(b)(2)(i) asks for six years."
  }
}

variable "tags" {
  description = "Of all resources."
  type        = map(string)
  default     = {}
}
