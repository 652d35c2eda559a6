"""CPython's own tests under greenpool's monkey patching: how many hold that hold without it.

`python -m tests.cpython` runs the test modules that patching reaches, unpatched and patched, and
prints for each how many of the tests that pass unpatched pass patched too, then every lost one.

- *Unpatched* is the baseline: two runs; a test counts if it passes in both. It is cached for each
  interpreter under build/cpython/ (`--refresh` measures it anew).
- Every module runs in a process of its own, in an empty temporary directory, with the resources
  that `python -m test -u cpu,walltime` would allow (see worker.py).
- A test that takes longer than 20 s (`--limit`) is hung: all stacks are dumped, its process is
  killed, and a new process goes on with the next test. A crash likewise costs one test.
- A test skipped unpatched does not count. One that is skipped only when patched is lost.
- exceptions.txt lists the tests that cannot hold under green threads, with the reason. At most
  0.5 % of all tests may stand there, and none that hangs.
- `--reduced` leaves out the tests listed in slow.txt, those that took over a second unpatched on
  some version of CPython; `--record-slow` adds to it what the baseline of this one has.

To work on one test: `python -m tests.cpython --modules test_queue --match PATTERN -v`.
"""
