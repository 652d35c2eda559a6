"""Tests that behave in every way that the harness has to tell apart, some of them only when patched.

The patch is `import sys; sys.patched = True`. test_harness.py runs this module in a worker. Neither pytest
nor unittest finds the module by its name.
"""

import os
import sys
import threading
import unittest

PATCHED = hasattr(sys, "patched")


def wait_for_ever() -> None:
    threading.Event().wait()


class Plain(unittest.TestCase):
    @unittest.expectedFailure
    def test_expected_failure_stays(self) -> None:
        self.fail("as expected")

    def test_fails_always(self) -> None:
        self.fail("always")

    def test_lost_by_error(self) -> None:
        print("printed by the test")
        if PATCHED:
            raise OSError("when patched")

    def test_lost_by_skip(self) -> None:
        if PATCHED:
            self.skipTest("when patched")

    def test_lost_in_a_subtest(self) -> None:
        for number in range(3):
            with self.subTest(number=number):
                self.assertFalse(PATCHED and number == 1)

    def test_lost_in_its_cleanup(self) -> None:
        self.addCleanup(self.assertFalse, PATCHED)

    def test_passes(self) -> None:
        pass

    def test_passes_in_a_forked_child(self) -> None:
        # The child goes on as a copy of the runner, and none of its results may be counted.
        if pid := os.fork():
            os.waitpid(pid, 0)

    @unittest.skip("always")
    def test_skipped_always(self) -> None:
        pass

    def test_starts_in_an_empty_directory(self) -> None:
        self.assertEqual(os.listdir(), [])


class Crash(unittest.TestCase):
    def test_1_before(self) -> None:
        pass

    def test_2_crash(self) -> None:
        if PATCHED:
            print("last words")
            os.abort()

    def test_3_after(self) -> None:
        pass


class Hang(unittest.TestCase):
    def test_1_before(self) -> None:
        pass

    def test_2_hang(self) -> None:
        if PATCHED:
            wait_for_ever()

    def test_3_after(self) -> None:
        pass


class HangInSetUpClass(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        if PATCHED:
            wait_for_ever()

    def test_1(self) -> None:
        pass

    def test_2(self) -> None:
        pass


class ErrorInSetUpClass(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        if PATCHED:
            raise OSError("no server")

    def test_1(self) -> None:
        pass


class ErrorInTearDownClass(unittest.TestCase):
    @classmethod
    def tearDownClass(cls) -> None:
        if PATCHED:
            raise OSError("still running")

    def test_1(self) -> None:
        pass


class Exit(unittest.TestCase):
    def test_leaves_a_thread_that_never_ends(self) -> None:
        if PATCHED:
            threading.Thread(target=wait_for_ever).start()


def load_tests(
    loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None
) -> unittest.TestSuite:
    # This is a second test of the same name, as in test_threading_local.
    tests.addTest(Plain("test_passes"))
    return tests
