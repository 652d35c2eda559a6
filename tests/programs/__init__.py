"""Real programs and libraries from PyPI, unmodified, patched, each against a real server on loopback.

Each test runs a program in an interpreter of its own (see program.py). Where the package or the
server that it needs is not installed it is skipped, with the reason; `.ci/programs` installs all.
"""
