"""HTTP as a way out: the client, what answers mean, and what keeps a delivery fed through it."""
