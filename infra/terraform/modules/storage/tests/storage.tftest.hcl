mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
  }

  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::cerebeam-records" }
  }
}

variables {
  name = "cerebeam-records"
}

run "safe_by_default" {
  command = apply

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls,
      aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls,
      aws_s3_bucket_public_access_block.this.restrict_public_buckets,
    ])
    error_message = "The bucket could be made public."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default[0].kms_master_key_id == aws_kms_key.this.arn
    error_message = "Objects are not encrypted with the bucket's own key."
  }

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "No rotation or no versions."
  }

  assert {
    condition     = length(aws_s3_bucket_object_lock_configuration.this) == 0 && !aws_s3_bucket.this.object_lock_enabled
    error_message = "Locked without being asked to."
  }
}

run "locked" {
  command = apply

  variables {
    lock_days = 2190
  }

  assert {
    condition     = aws_s3_bucket.this.object_lock_enabled && aws_s3_bucket_object_lock_configuration.this[0].rule[0].default_retention[0].mode == "COMPLIANCE"
    error_message = "Not locked."
  }
}

run "upper_case" {
  command         = plan
  expect_failures = [var.name]

  variables {
    name = "Cerebeam"
  }
}

run "identifying_name" {
  command         = plan
  expect_failures = [var.name]

  variables {
    name = "patient-jane"
  }
}

run "negative_lock" {
  command         = plan
  expect_failures = [var.lock_days]

  variables {
    lock_days = -1
  }
}

run "no_way_back" {
  command         = plan
  expect_failures = [var.old_versions_days]

  variables {
    old_versions_days = 1
  }
}

run "too_early_to_move" {
  command         = plan
  expect_failures = [var.infrequent_after_days]

  variables {
    infrequent_after_days = 3
  }
}

run "identifying_tag" {
  command         = plan
  expect_failures = [var.tags]

  variables {
    tags = { PatientName = "x" }
  }
}
