"""What backups are made of: archives, and what InfluxDB and Grafana put into them and take out."""
