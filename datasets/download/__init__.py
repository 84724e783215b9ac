"""Downloads datasets and unpacks archives, both as if the other side were hostile."""
