"""The sweep file: its schema, how it is read, and the search space that it describes."""
