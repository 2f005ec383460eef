output "vpc_id" {
  value       = aws_vpc.this.id
  description = "Of the network."
}

output "private_subnet_ids" {
  value       = [for zone in var.zones : aws_subnet.private[zone].id]
  description = "Where nodes and databases go."
}

output "private_cidrs" {
  value       = [for zone in var.zones : local.private[zone]]
  description = "For networkPolicy.toCIDRs of the chart."
}
