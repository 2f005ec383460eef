output "bucket" {
  value       = aws_s3_bucket.this.bucket
  description = "Name of the bucket."
}

output "bucket_arn" {
  value       = aws_s3_bucket.this.arn
  description = "For policies."
}

output "key_arn" {
  value       = aws_kms_key.this.arn
  description = "Of the bucket's key."
}
