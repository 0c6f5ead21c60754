"""The operators: what the engine can be told to do in a graph file. `README.md` teaches how to write one."""
