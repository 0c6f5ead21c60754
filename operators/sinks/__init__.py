"""One module for each sink: the file's name is its `type:` in YAML."""
