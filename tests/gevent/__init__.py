"""gevent's own tests on greenpool under gevent's name: how many of those that pass with gevent pass here.

`python -m tests.gevent` runs the test files of gevent's wheel (`gevent/tests`, with `gevent/testing`) on
`greenpool.install_as_gevent()`. For each file it prints how many of the tests that pass with gevent are kept,
lost or excepted. Then it prints every lost and excepted test, the latter with its reason.

- gevent 26.9 must be installed for its test files (`pip install gevent==26.9`). Of its other modules only
  four helpers of the tests are used (see site/sitecustomize.py).
- passing.txt lists the tests that pass with gevent itself, in two runs. `--record` measures it anew.
- internals.txt lists those that do not count, because they ask for gevent's internals, with the reason.
- exceptions.txt lists those that count and are lost for good, with the reason.
- Every file runs in a process of its own, by the means of tests.cpython. All that it starts has the name, too
  (site/sitecustomize.py). A test that takes longer than 40 s (`--limit`) is hung and killed.

To work on one test: `python -m tests.gevent --files test__queue --match PATTERN -v`.
"""
