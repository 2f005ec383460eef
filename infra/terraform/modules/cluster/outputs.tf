output "name" {
  value       = aws_eks_cluster.this.name
  description = "For aws eks update-kubeconfig."
}

output "node_role_name" {
  value       = aws_iam_role.node.name
  description = "For further policies."
}

output "key_arn" {
  value       = aws_kms_key.this.arn
  description = "Of disks; name it in the storage class."
}
