"""Descriptors that may block: reading and writing them, files over them, and waiting for child processes."""
