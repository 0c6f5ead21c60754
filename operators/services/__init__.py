"""One module for each service: the file's name is its `type:` in YAML."""
