"""Page, metrics, API and health of a running graph, on the pipeline's own loop."""
