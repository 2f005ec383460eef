mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/node" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
  }

  mock_resource "aws_launch_template" {
    defaults = { id = "lt-00000000000000000", latest_version = 1 }
  }
}

variables {
  name       = "cerebeam"
  subnet_ids = ["subnet-a", "subnet-b"]
  gpu        = { instance_types = ["p4d.24xlarge", "p5.48xlarge"], n_max_spot = 2, n_max_on_demand = 1 }
}

run "closed_and_encrypted" {
  command = apply

  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "The control plane is reached from outside without being asked to."
  }

  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].provider[0].key_arn == aws_kms_key.this.arn && aws_kms_key.this.enable_key_rotation
    error_message = "Secrets are not encrypted with a key of your own."
  }

  assert {
    condition     = contains(aws_eks_cluster.this.enabled_cluster_log_types, "audit")
    error_message = "Nobody writes down who changed the cluster."
  }

  assert {
    condition     = aws_launch_template.node.metadata_options[0].http_tokens == "required" && aws_launch_template.node.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "A pod could take its node's credentials."
  }

  assert {
    condition     = tobool(aws_launch_template.node.block_device_mappings[0].ebs[0].encrypted)
    error_message = "Disks are not encrypted."
  }

  assert {
    condition     = jsondecode(aws_eks_addon.network.configuration_values).enableNetworkPolicy == "true"
    error_message = "NetworkPolicy is not enforced."
  }
}

run "spot_first_then_on_demand" {
  command = apply

  assert {
    condition     = aws_eks_node_group.gpu["spot"].capacity_type == "SPOT" && aws_eks_node_group.gpu["on-demand"].capacity_type == "ON_DEMAND"
    error_message = "There is no fall-back."
  }

  assert {
    condition     = alltrue([for group in values(aws_eks_node_group.gpu) : group.scaling_config[0].min_size == 0 && anytrue([for taint in group.taint : taint.key == "nvidia.com/gpu"])])
    error_message = "GPUs are paid for while nothing trains, or take other pods."
  }

  assert {
    condition     = aws_eks_node_group.gpu["spot"].labels["cerebeam.org/capacity"] == "spot"
    error_message = "The chart's spotLabel finds no node."
  }

  assert {
    condition     = aws_eks_node_group.service.capacity_type == "ON_DEMAND" && aws_eks_node_group.service.scaling_config[0].min_size == 2
    error_message = "The service lies on one node, or on spot."
  }
}

run "without_gpus" {
  command = apply

  variables {
    gpu = null
  }

  assert {
    condition     = length(aws_eks_node_group.gpu) == 0
    error_message = "GPUs without being asked for."
  }
}

run "open_to_the_world" {
  command         = plan
  expect_failures = [var.admin_cidrs]

  variables {
    admin_cidrs = ["0.0.0.0/0"]
  }
}

run "one_subnet" {
  command         = plan
  expect_failures = [var.subnet_ids]

  variables {
    subnet_ids = ["subnet-a", "subnet-a"]
  }
}

run "untried_version" {
  command         = plan
  expect_failures = [var.kubernetes_version]

  variables {
    kubernetes_version = "1.21"
  }
}

run "one_node" {
  command         = plan
  expect_failures = [var.n_max_service]

  variables {
    n_max_service = 1
  }
}

run "small_disk" {
  command         = plan
  expect_failures = [var.disk_gb]

  variables {
    disk_gb = 8
  }
}

run "no_gpu" {
  command         = plan
  expect_failures = [var.gpu]

  variables {
    gpu = { instance_types = ["m7i.xlarge"], n_max_spot = 2, n_max_on_demand = 1 }
  }
}

run "a_wrong_digit" {
  command         = plan
  expect_failures = [var.gpu]

  variables {
    gpu = { instance_types = ["p5.48xlarge"], n_max_spot = 200, n_max_on_demand = 1 }
  }
}

run "dear_by_default" {
  command         = plan
  expect_failures = [var.gpu]

  variables {
    gpu = { instance_types = ["p5.48xlarge"], n_max_spot = 1, n_max_on_demand = 4 }
  }
}
