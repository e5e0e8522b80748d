"""The command line: the entry points, what a job came to, and the table that closes a multirun."""
