# What must hold of planned resources (terraform show -json). input.resources: {address, type, values}.
package cerebeam

import rego.v1

# A bucket's settings stand beside it in the same module under the same name.
sibling(bucket, type) := r if {
	some r in input.resources
	r.type == type
	replace(r.address, concat("", [".", type, "."]), ".aws_s3_bucket.") == bucket.address
}

buckets contains r if {
	some r in input.resources
	r.type == "aws_s3_bucket"
}

# public-bucket

private(bucket) if {
	block := sibling(bucket, "aws_s3_bucket_public_access_block").values
	block.block_public_acls
	block.block_public_policy
	block.ignore_public_acls
	block.restrict_public_buckets
}

deny contains {"check": "public-bucket", "where": b.address, "line": "could be made public: aws_s3_bucket_public_access_block must set all four"} if {
	some b in buckets
	not private(b)
}

proof contains {"check": "public-bucket", "where": b.address, "line": "aws_s3_bucket_public_access_block: all four true"} if {
	some b in buckets
	private(b)
}

# no-kms

encrypted(bucket) if {
	rules := sibling(bucket, "aws_s3_bucket_server_side_encryption_configuration").values.rule
	some rule in rules
	some applied in rule.apply_server_side_encryption_by_default
	applied.sse_algorithm == "aws:kms"
}

deny contains {"check": "no-kms", "where": b.address, "line": "objects are not encrypted with a key of your own (sse_algorithm aws:kms)"} if {
	some b in buckets
	not encrypted(b)
}

deny contains {"check": "no-kms", "where": r.address, "line": "enable_key_rotation is not true"} if {
	some r in input.resources
	r.type == "aws_kms_key"
	not r.values.enable_key_rotation
}

proof contains {"check": "no-kms", "where": b.address, "line": "sse_algorithm: aws:kms"} if {
	some b in buckets
	encrypted(b)
}

# wildcard-iam: of policies that are given to somebody. A key's or a bucket's own policy names its resource by itself.

# What terraform does not know before it applies (another resource's name) is left out of the plan.
statements contains {"where": r.address, "effect": object.get(s, "effect", "Allow"), "actions": object.get(s, "actions", []), "resources": object.get(s, "resources", [])} if {
	some r in input.resources
	r.type == "aws_iam_policy_document"
	some s in r.values.statement
	count(object.get(s, "principals", [])) == 0
}

statements contains {"where": r.address, "effect": s.Effect, "actions": listed(object.get(s, "Action", "*")), "resources": listed(object.get(s, "Resource", "*"))} if {
	some r in input.resources
	r.type in {"aws_iam_policy", "aws_iam_role_policy", "aws_iam_user_policy", "aws_iam_group_policy"}
	is_string(r.values.policy)
	some s in listed(json.unmarshal(r.values.policy).Statement)
}

listed(value) := value if is_array(value)

listed(value) := [value] if not is_array(value)

deny contains {"check": "wildcard-iam", "where": s.where, "line": sprintf("action %s", [action])} if {
	some s in statements
	lower(s.effect) == "allow"
	some action in s.actions
	regex.match(`^(.*:)?[*]$`, action)
}

deny contains {"check": "wildcard-iam", "where": s.where, "line": sprintf("resource %s", [resource])} if {
	some s in statements
	lower(s.effect) == "allow"
	some resource in s.resources
	regex.match(`^([*]|arn:[^:]*:s3:::[*](/.*)?)$`, resource)
}

# All but what is named.
deny contains {"check": "wildcard-iam", "where": r.address, "line": sprintf("%s allows all but what it names", [field])} if {
	some r in input.resources
	r.type == "aws_iam_policy_document"
	some s in r.values.statement
	lower(object.get(s, "effect", "Allow")) == "allow"
	some field in ["not_actions", "not_resources"]
	count(object.get(s, field, [])) > 0
}

deny contains {"check": "wildcard-iam", "where": r.address, "line": sprintf("policy %s", [r.values.policy_arn])} if {
	some r in input.resources
	r.type in {"aws_iam_role_policy_attachment", "aws_iam_user_policy_attachment", "aws_iam_group_policy_attachment", "aws_iam_policy_attachment"}
	regex.match(`(AdministratorAccess|PowerUserAccess|FullAccess)$`, r.values.policy_arn)
}

proof contains {"check": "wildcard-iam", "where": s.where, "line": concat(", ", s.actions)} if some s in statements

# no-audit: somebody writes down who read and wrote the recordings, and nobody can delete that.

trails contains r if {
	some r in input.resources
	r.type == "aws_cloudtrail"
	object.get(r.values, "enable_logging", true)
	r.values.enable_log_file_validation
	r.values.is_multi_region_trail
	some selector in r.values.event_selector
	selector.read_write_type == "All"
	count(selector.data_resource) > 0
}

locks contains r if {
	some r in input.resources
	r.type == "aws_s3_bucket_object_lock_configuration"
	some rule in r.values.rule
	some retention in rule.default_retention
	retention.mode == "COMPLIANCE"
	retention.days >= 2190
}

deny contains {"check": "no-audit", "where": "all", "line": "no aws_cloudtrail that validates its files and writes down reads and writes of objects"} if {
	count(buckets) > 0
	count(trails) == 0
}

deny contains {"check": "no-audit", "where": "all", "line": "no bucket locked for six years, for the log and its checkpoints"} if {
	count(buckets) > 0
	count(locks) == 0
}

proof contains {"check": "no-audit", "where": r.address, "line": "enable_log_file_validation: true, read_write_type: All"} if some r in trails

proof contains {"check": "no-audit", "where": r.address, "line": "mode: COMPLIANCE, at least 2190 days"} if some r in locks
