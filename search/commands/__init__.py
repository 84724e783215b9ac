"""The subcommands of `chorale`: one file per command parses its arguments and prints results."""
