"""Measures one peer in one subject: ``python -m benchmarks.micro SUBJECT PEER SECONDS``."""

import importlib
import sys

from benchmarks.measuring import report

if __name__ == "__main__":
    _, name, peer, seconds = sys.argv
    report(importlib.import_module(f"benchmarks.micro.{name}").SUBJECT, peer, float(seconds))
