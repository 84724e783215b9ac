"""Local worker processes: trials run in forked processes of this machine, without Ray."""
