"""What `infra/doctor` tries, part by part."""
