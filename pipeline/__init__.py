"""The engine: it turns a graph file into running actors and never names an operator."""
