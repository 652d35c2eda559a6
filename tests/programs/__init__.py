"""Real programs and libraries from PyPI, unmodified but patched, each against a real server on loopback.

Each test runs a program in an interpreter of its own (see program.py). If its package or server is not
installed, the test is skipped with the reason. `.ci/programs` installs all of them.
"""
