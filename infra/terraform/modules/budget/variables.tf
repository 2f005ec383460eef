variable "name" {
  description = "Of the budget."
  type        = string
}

variable "usd_a_month" {
  description = "Limit; nothing is stopped at it, people are written to."
  type        = number

  validation {
    condition     = var.usd_a_month > 0
    error_message = "More than nothing."
  }
}

variable "emails" {
  description = "Who is written to."
  type        = list(string)

  validation {
    condition     = length(var.emails) > 0 && alltrue([for email in var.emails : can(regex("^[^@ ]+@[^@ ]+[.][^@ ]+$", email))])
    error_message = "At least one address: a budget that nobody hears of stops nothing."
  }
}
