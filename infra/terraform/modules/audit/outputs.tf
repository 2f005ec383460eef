output "checkpoints_bucket" {
  value       = module.checkpoints.bucket
  description = "Where the service mounts its second sink."
}

output "writer_policy_arn" {
  value       = aws_iam_policy.writer.arn
  description = "For the role of the service."
}
