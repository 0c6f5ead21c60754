"""One module for each source: the file's name is its `type:` in YAML."""
