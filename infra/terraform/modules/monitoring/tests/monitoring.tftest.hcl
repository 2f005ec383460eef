mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
  }

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:111122223333:cerebeam-alarms" }
  }
}

variables {
  name    = "cerebeam"
  region  = "us-east-1"
  account = "111122223333"
  emails  = ["it@hospital.example", "eeg@hospital.example"]
  rules   = "groups: [{name: service, rules: [{alert: ServiceDown, expr: up == 0}]}]"
}

run "somebody_hears_it" {
  command = apply

  assert {
    condition     = length(aws_sns_topic_subscription.people) == 2
    error_message = "Somebody is not written to."
  }

  assert {
    condition     = yamldecode(yamldecode(aws_prometheus_alert_manager_definition.this.definition).alertmanager_config).receivers[0].sns_configs[0].topic_arn == aws_sns_topic.this.arn
    error_message = "Alarms do not reach the topic."
  }

  assert {
    condition     = aws_prometheus_workspace.this.kms_key_arn == aws_kms_key.this.arn && aws_sns_topic.this.kms_master_key_id == aws_kms_key.this.arn && aws_cloudwatch_log_group.service.kms_key_id == aws_kms_key.this.arn
    error_message = "Something is not encrypted with the key."
  }
}

run "nobody" {
  command         = plan
  expect_failures = [var.emails]

  variables {
    emails = []
  }
}

run "no_rule" {
  command         = plan
  expect_failures = [var.rules]

  variables {
    rules = "groups: []"
  }
}

run "no_account" {
  command         = plan
  expect_failures = [var.account]

  variables {
    account = "me"
  }
}

run "forgotten_soon" {
  command         = plan
  expect_failures = [var.log_days]

  variables {
    log_days = 1
  }
}
