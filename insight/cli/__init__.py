"""The command line: one module per command, each turning arguments into one library call."""
