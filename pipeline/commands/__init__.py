"""The commands: one module each, its file name is the command's; each has a `command`. Imported when called."""
