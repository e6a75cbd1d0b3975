"""Tasks of the DeepMind Control suite from pixels."""
