"""Patches as the peer needs it, and runs one program of this folder."""

import sys

from benchmarks.everyday.patching import NATIVE, patch_for


def serve_on_pool(program: str, peer: str) -> None:
    """Run the unchanged program on a pool: "greenpool, 2 hubs" or "greenpool pinned, 2 hubs"."""
    from greenpool import Runtime, monkey

    monkey.patch_all()
    from benchmarks.servers.everyday import blocking

    kind, _, hubs = peer.partition(", ")
    with Runtime(int(hubs.split()[0]), pin_to_cpus="pinned" in kind) as runtime:
        runtime.block_on(blocking.serve, program, "unchanged")


def main() -> None:
    _, program, peer = sys.argv
    patch_for(peer)
    library = peer.partition(",")[0]
    # These import most of the standard library, so they come after the patching.
    if library in ("asyncio", "uvloop"):
        from benchmarks.servers.everyday import streams

        streams.serve(program, library, protocols=peer.endswith(", Protocol"))
    elif " hub" in peer:
        serve_on_pool(program, peer)
    else:
        from benchmarks.servers.everyday import blocking

        blocking.serve(program, library if peer.endswith(NATIVE) else "unchanged")


if __name__ == "__main__":
    main()
