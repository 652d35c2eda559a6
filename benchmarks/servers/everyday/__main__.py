"""Patches as the peer needs it, and runs one program of this folder."""

import sys

from benchmarks.everyday.patching import NATIVE, patch_for


def main() -> None:
    _, program, peer = sys.argv
    patch_for(peer)
    library = peer.partition(",")[0]
    # These import most of the standard library, so they come after the patching.
    if library in ("asyncio", "uvloop"):
        from benchmarks.servers.everyday import streams

        streams.serve(program, library, protocols=peer.endswith(", Protocol"))
    else:
        from benchmarks.servers.everyday import blocking

        blocking.serve(program, library if peer.endswith(NATIVE) else "unchanged")


if __name__ == "__main__":
    main()
