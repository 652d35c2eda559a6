"""CPython's own tests under greenpool's monkey patching: how many of those that hold without it hold with it.

`python -m tests.cpython` runs the test modules that patching reaches, unpatched and patched. For each module
it prints how many of the tests that pass unpatched pass patched, too. Then it prints every lost test.

- *Unpatched* is the baseline of two runs. A test counts if it passes in both. The baseline is cached for each
  interpreter under build/cpython/ (`--refresh` measures it anew).
- Every module runs in a process of its own, in an empty temporary directory. It gets the resources that
  `python -m test -u cpu,walltime` would allow (see worker.py).
- A test that takes longer than 20 s (`--limit`) is hung. All stacks are dumped, its process is killed, and a
  new process goes on with the next test. A crash likewise costs one test.
- A test that is skipped unpatched does not count. One that is skipped only when patched is lost.
- exceptions.txt lists the tests that cannot hold under green threads, with the reason. At most 0.5 % of all
  tests may be listed there. None may hang, except a test whose reason is that it computes without ever
  waiting: that one is not run.
- `--reduced` leaves out the tests listed in slow.txt, which took over a second unpatched on some version of
  CPython, or over 0.15 s if they are multiprocessing's. `--record-slow` adds the slow tests of this
  interpreter's baseline to the list.

To work on one test: `python -m tests.cpython --modules test_queue --match PATTERN -v`.
"""
