"""One module for each transform: the file's name is its `type:` in YAML."""
