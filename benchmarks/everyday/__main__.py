"""Measures one peer in one everyday subject: ``python -m benchmarks.everyday SUBJECT PEER SECONDS``."""

import sys

from benchmarks.everyday.patching import patch_for


def main() -> None:
    _, name, peer, seconds = sys.argv
    patch_for(peer)
    # These import most of the standard library, so they come after the patching.
    from benchmarks.everyday.subjects import everyday_subjects
    from benchmarks.measuring import report

    report(everyday_subjects()[name], peer, float(seconds))


if __name__ == "__main__":
    main()
