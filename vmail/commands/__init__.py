"""The commands of `vmail`. A module's `register` adds its own to the parser and imports nothing heavy."""
