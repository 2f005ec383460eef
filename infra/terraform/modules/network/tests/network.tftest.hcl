mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:111122223333:log-group:flows" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/flows" }
  }
}

variables {
  name        = "cerebeam"
  region      = "us-east-1"
  zones       = ["us-east-1a", "us-east-1b"]
  log_key_arn = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000"
}

run "closed_and_logged" {
  command = apply

  assert {
    condition     = alltrue([for subnet in concat(values(aws_subnet.private), values(aws_subnet.public)) : !subnet.map_public_ip_on_launch])
    error_message = "Something gets a public address by itself."
  }

  assert {
    condition     = alltrue([for route in aws_route_table.private.route : route.gateway_id == null || route.gateway_id == ""]) && length(aws_route_table.private.route) == 1
    error_message = "A private subnet is reached from outside."
  }

  assert {
    condition     = length(aws_default_security_group.this.ingress) == 0 && length(aws_default_security_group.this.egress) == 0
    error_message = "The group by default lets something through."
  }

  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_cloudwatch_log_group.flows.kms_key_id == var.log_key_arn
    error_message = "Flows are not logged, or not encrypted."
  }

  # 10.20.0.0/16 in sixteenths: /20, 16 x 256 addresses apart.
  assert {
    condition     = output.private_cidrs == ["10.20.0.0/20", "10.20.16.0/20"] && aws_subnet.public["us-east-1a"].cidr_block == "10.20.128.0/20"
    error_message = "Subnets overlap or lie elsewhere."
  }
}

run "one_zone" {
  command         = plan
  expect_failures = [var.zones]

  variables {
    zones = ["us-east-1a"]
  }
}

run "public_range" {
  command         = plan
  expect_failures = [var.cidr]

  variables {
    cidr = "8.8.0.0/16"
  }
}

run "too_small_a_range" {
  command         = plan
  expect_failures = [var.cidr]

  variables {
    cidr = "10.0.0.0/24"
  }
}

run "flows_in_clear" {
  command         = plan
  expect_failures = [var.log_key_arn]

  variables {
    log_key_arn = ""
  }
}

run "flows_forgotten" {
  command         = plan
  expect_failures = [var.flow_log_days]

  variables {
    flow_log_days = 7
  }
}
