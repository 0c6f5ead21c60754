"""Makes what the platform needs before it starts: variables, certificates, users, tenants. Standard library only."""
