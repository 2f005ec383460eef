mock_provider "aws" {}

variables {
  name        = "cerebeam"
  usd_a_month = 5000
  emails      = ["it@hospital.example"]
}

run "three_letters" {
  command = apply

  assert {
    condition     = length(aws_budgets_budget.this.notification) == 3 && aws_budgets_budget.this.limit_amount == "5000"
    error_message = "Somebody is not written to."
  }
}

run "nobody" {
  command         = plan
  expect_failures = [var.emails]

  variables {
    emails = []
  }
}

run "nothing" {
  command         = plan
  expect_failures = [var.usd_a_month]

  variables {
    usd_a_month = 0
  }
}
