output "remote_write_url" {
  value       = "${aws_prometheus_workspace.this.prometheus_endpoint}api/v1/remote_write"
  description = "Where the cluster's Prometheus sends its measures."
}

output "log_key_arn" {
  value       = aws_kms_key.this.arn
  description = "For logs of other modules."
}
