variable "name" {
  description = "Name of the bucket; never of a patient or a study's subject."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name))
    error_message = "3 to 63 lower-case letters, digits and dashes."
  }

  validation {
    condition     = !can(regex("patient|mrn|ssn|birth", var.name))
    error_message = "A bucket's name is public: it must not name what identifies a person."
  }
}

variable "lock_days" {
  description = "Days during which nobody, the account's root neither, may change or delete an object; 0: no lock."
  type        = number
  default     = 0

  validation {
    condition     = var.lock_days >= 0 && var.lock_days <= 36500
    error_message = "0 to 36500 days."
  }
}

variable "old_versions_days" {
  description = "Days that replaced and deleted objects can be brought back."
  type        = number
  default     = 90

  validation {
    condition     = var.old_versions_days >= 30
    error_message = "At least 30 days: an error is rarely seen on the same day."
  }
}

variable "infrequent_after_days" {
  description = "Days until objects move to the cheaper class; null: never."
  type        = number
  default     = null

  validation {
    condition     = var.infrequent_after_days == null ? true : var.infrequent_after_days >= 30
    error_message = "S3 moves objects after 30 days at the earliest."
  }
}

variable "tags" {
  description = "Of all resources."
  type        = map(string)
  default     = {}

  validation {
    condition     = !anytrue([for key in keys(var.tags) : can(regex("(?i)patient|mrn|ssn|birth|dob", key))])
    error_message = "Tags are seen by everybody who sees the bill: they must not identify a person."
  }
}
