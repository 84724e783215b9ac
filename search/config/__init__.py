"""The sweep file: schema, YAML, resolution of names, and the conditional search space."""
