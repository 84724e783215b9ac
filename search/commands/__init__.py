"""One file, one command of `chorale`."""
