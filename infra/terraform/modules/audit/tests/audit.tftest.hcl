mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
  }

  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::cerebeam" }
  }

  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::111122223333:policy/writer" }
  }
}

variables {
  name        = "cerebeam"
  account     = "111122223333"
  bucket_arns = ["arn:aws:s3:::cerebeam-records"]
}

run "locked_for_six_years" {
  command = apply

  assert {
    condition     = aws_s3_bucket_object_lock_configuration.trail.rule[0].default_retention[0].days == 2190 && aws_s3_bucket.trail.object_lock_enabled
    error_message = "The trail can be deleted."
  }

  assert {
    condition     = aws_cloudtrail.this.enable_log_file_validation && aws_cloudtrail.this.event_selector[0].read_write_type == "All"
    error_message = "Reads are not written down, or files can be changed."
  }

  assert {
    condition     = one(aws_cloudtrail.this.event_selector[0].data_resource).values == tolist(["arn:aws:s3:::cerebeam-records/"])
    error_message = "Objects of the bucket are not watched."
  }
}

run "kept_too_shortly" {
  command         = plan
  expect_failures = [var.keep_days]

  variables {
    keep_days = 365
  }
}

run "watches_nothing" {
  command         = plan
  expect_failures = [var.bucket_arns]

  variables {
    bucket_arns = []
  }
}

run "no_account" {
  command         = plan
  expect_failures = [var.account]

  variables {
    account = "me"
  }
}
