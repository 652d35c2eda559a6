"""``greenpool.local``: values per greenlet."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from functools import cached_property
from typing import Any

import greenlet
import pytest
from hypothesis import given
from hypothesis import strategies as st

import greenpool
from greenpool.event import Event
from greenpool.local import local

pytestmark = pytest.mark.usefixtures("leak_check")


class Thing:
    """An object whose death the test can see."""


def test_each_greenlet_sees_its_own_values() -> None:
    here = local()
    here.number = 42

    def elsewhere() -> list[Any]:
        seen = [hasattr(here, "number")]
        here.number = 11
        greenpool.sleep(0)
        seen.append(here.number)
        return seen

    first, second = greenpool.spawn(elsewhere), greenpool.spawn(elsewhere)
    assert first.get() == second.get() == [False, 11]
    assert here.number == 42


def test_values_across_hubs_and_threads() -> None:
    here = local()
    here.number = "main"

    def use(number: int) -> bool:
        here.number = number
        for _ in range(10):
            greenpool.sleep(0)
            assert here.number == number
            here.number = number
        return True

    failures: list[BaseException] = []

    def in_thread(number: int) -> None:
        try:
            assert not hasattr(here, "number")
            assert use(number)
        except BaseException as exception:
            failures.append(exception)

    with greenpool.Runtime(pool_size=4) as runtime:
        threads = [threading.Thread(target=in_thread, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        greenlets = [runtime.spawn(use, number) for number in range(100)]
        assert all(one.get() for one in greenlets)
        for thread in threads:
            thread.join()
    assert not failures
    assert here.number == "main"


def test_dict_is_the_calling_greenlets() -> None:
    here = local()
    here.number = 1
    assert here.__dict__ == vars(here) == {"number": 1}
    here.__dict__["other"] = 2
    assert here.other == 2
    assert "other" in dir(here)
    assert greenpool.spawn(lambda: here.__dict__).get() == {}
    with pytest.raises(AttributeError, match="read-only"):
        here.__dict__ = {}
    with pytest.raises(AttributeError, match="read-only"):
        del here.__dict__


def test_deleting() -> None:
    here = local()
    here.number = 1
    del here.number
    with pytest.raises(AttributeError, match="no attribute 'number'"):
        _ = here.number
    with pytest.raises(AttributeError, match="'local' object has no attribute 'number'"):
        del here.number


def test_arguments_need_an_init() -> None:
    with pytest.raises(TypeError, match="Initialization arguments"):
        local(1)
    with pytest.raises(TypeError, match="Initialization arguments"):
        local(key=1)


class Numbered(local):
    number = 2

    def __init__(self, **values: Any) -> None:
        if hasattr(self, "initialized"):
            raise SystemError("__init__ called too often")
        self.initialized = True
        self.__dict__.update(values)

    def squared(self) -> int:
        return self.number**2


def test_init_is_called_in_each_greenlet_with_the_same_arguments() -> None:
    here = Numbered(color="red")
    assert here.squared() == 4
    here.number = 3
    del here.color
    assert here.squared() == 9
    assert not hasattr(here, "color")

    def elsewhere() -> tuple[str, int, int]:
        return here.color, here.number, here.squared()

    assert greenpool.spawn(elsewhere).get() == ("red", 2, 4)
    assert here.number == 3


def test_an_init_that_fails_is_tried_again() -> None:
    attempts = []

    class Fragile(local):
        def __init__(self) -> None:
            self.begun = True
            attempts.append(greenpool.getcurrent())
            if len(attempts) == 2:
                raise ValueError("not this time")
            self.whole = True

    here = Fragile()

    def elsewhere() -> bool:
        with pytest.raises(ValueError, match="not this time"):
            _ = here.begun
        whole: bool = here.whole
        return whole

    assert greenpool.spawn(elsewhere).get()
    assert len(attempts) == 3


def test_slots_are_shared() -> None:
    class Slotted(local):
        __slots__ = ("shared",)
        shared: int

    here = Slotted()
    here.shared = 1
    here.own = 1

    def elsewhere() -> tuple[int, bool]:
        here.shared += 1
        return here.shared, hasattr(here, "own")

    assert greenpool.spawn(elsewhere).get() == (2, False)
    assert here.shared == 2
    del here.shared
    assert not hasattr(here, "shared")


def test_descriptors_of_a_subclass() -> None:
    class Described(local):
        def __init__(self) -> None:
            self.calls = 0

        @property
        def doubled(self) -> int:
            value: int = self.__dict__.get("doubled", 0)
            return 2 * value

        @doubled.setter
        def doubled(self, value: int) -> None:
            self.__dict__["doubled"] = value

        @property
        def constant(self) -> int:
            return 7

        @cached_property
        def expensive(self) -> int:
            self.calls += 1
            return self.calls

        @staticmethod
        def static() -> str:
            return "static"

        @classmethod
        def named(cls) -> str:
            return cls.__name__

    here = Described()
    here.doubled = 4
    assert here.doubled == 8
    with pytest.raises(AttributeError):
        here.constant = 1  # type: ignore[misc]
    assert (here.expensive, here.expensive) == (1, 1)
    assert (here.static(), here.named()) == ("static", "Described")
    assert greenpool.spawn(lambda: (here.doubled, here.expensive, here.calls)).get() == (0, 1, 1)


def test_a_plain_attribute_may_hide_an_inherited_property() -> None:
    class Base(local):
        @property
        def number(self) -> int:
            return 1

    class Derived(Base):
        number = 2

    here = Derived()
    here.number = 3
    assert here.number == 3
    assert greenpool.spawn(lambda: here.number).get() == 2


def test_getattr_of_a_subclass() -> None:
    class Default(local):
        def __getattr__(self, name: str) -> str:
            return f"no {name}"

    here = Default()
    here.there = "yes"
    assert (here.there, here.missing) == ("yes", "no missing")
    assert greenpool.spawn(lambda: here.there).get() == "no there"


def test_copy_takes_the_callers_values() -> None:
    here = Numbered(color="red")
    here.own = [1]
    other = copy.copy(here)
    assert type(other) is Numbered
    assert (other.color, other.own) == ("red", [1])
    assert other.own is here.own
    other.color = "blue"
    assert here.color == "red"
    assert greenpool.spawn(lambda: hasattr(other, "own")).get() is False


def test_values_die_with_their_greenlet() -> None:
    here = local()

    def elsewhere() -> weakref.ref[Thing]:
        here.thing = Thing()
        return weakref.ref(here.thing)

    with greenpool.Runtime(pool_size=2) as runtime:
        greenlets = [runtime.spawn(elsewhere) for _ in range(4)]
        references = [one.get() for one in greenlets]
        gc.collect()
        assert [reference() for reference in references] == [None] * 4
        # The greenlets themselves still exist.
        assert all(one.dead for one in greenlets)


def test_a_recycled_carrier_starts_without_values() -> None:
    here = local()

    def use() -> bool:
        fresh = not hasattr(here, "number")
        here.number = 1
        return fresh

    assert all(greenpool.spawn(use).get() for _ in range(20))


def test_values_die_with_their_local() -> None:
    def references_in(here: local) -> list[weakref.ref[Thing]]:
        here.thing = Thing()
        found = [weakref.ref(here.thing)]

        def elsewhere() -> None:
            here.thing = Thing()
            found.append(weakref.ref(here.thing))

        greenpool.spawn(elsewhere).get()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return found

    kept = local()
    references = references_in(local())
    gc.collect()
    assert [reference() for reference in references] == [None] * 3
    # A local in the place of a dropped one has none of its values.
    for _ in range(100):
        fresh = local()
        assert vars(fresh) == {}
        fresh.thing = 1
        del fresh
    assert vars(kept) == {}


def test_a_parked_greenlet_does_not_keep_the_values_of_a_dropped_local() -> None:
    dropped = [local()]

    def elsewhere() -> weakref.ref[Thing]:
        dropped[0].thing = Thing()
        reference = weakref.ref(dropped[0].thing)
        while dropped:
            greenpool.sleep(0)
        gc.collect()
        assert reference() is None
        return reference

    parked = greenpool.spawn(elsewhere)
    greenpool.sleep(0)
    dropped.clear()
    parked.get()


def test_many_greenlets_leave_no_trace_in_the_local() -> None:
    here = local()

    def use() -> None:
        here.number = 1

    for _ in range(100):
        greenpool.spawn(use).join()
    assert len(here._local__holder.values) == 1  # the value of this greenlet


def test_in_a_callback_of_the_loop_and_in_a_raw_greenlet() -> None:
    here = local()
    here.number = 1
    seen = []

    def look(_: object) -> None:
        seen.append(hasattr(here, "number"))
        here.number = len(seen)

    for _ in range(2):
        one = greenpool.spawn(int)
        one.rawlink(look)
        one.join()
        greenpool.sleep(0)
    # The loop is one greenlet, so it keeps its values.
    assert seen == [False, True]

    def raw() -> None:
        look(None)
        greenpool.sleep(0)  # after this, the hub knows the greenlet
        seen.append(here.number)

    greenlet.greenlet(raw).switch()
    greenpool.sleep(0)
    greenpool.sleep(0)
    assert seen == [False, True, False, 3]
    assert here.number == 1


def test_values_from_before_the_threads_first_wait() -> None:
    here = local()
    seen = []

    def in_thread() -> None:
        here.number = 1
        greenpool.sleep(0)
        seen.append(here.number)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert seen == [1]


NAMES = st.sampled_from(["a", "b", "number", "squared"])


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["set", "delete", "get"]), NAMES, st.integers(0, 9)),
        max_size=30,
    )
)
def test_as_one_plain_object_per_greenlet(steps: list[tuple[int, str, str, int]]) -> None:
    class Plain:
        number = 2
        squared = "function"

    class Local(local):
        number = 2
        squared = "function"

    here = Local()
    plain = [Plain() for _ in range(4)]
    turns: list[Any] = []

    def apply(target: object, action: str, name: str, value: int) -> object:
        if action == "set":
            setattr(target, name, value)
            return None
        try:
            found = getattr(target, name)
            if action == "delete":
                delattr(target, name)
        except AttributeError:
            return AttributeError
        return found

    def play(player: int) -> None:
        for owner, action, name, value in steps:
            if owner == player:
                while len(turns) < len(steps) and steps[len(turns)][0] != player:
                    greenpool.sleep(0)
                turns.append(None)
                assert apply(here, action, name, value) == apply(plain[player], action, name, value)
        assert vars(here) == vars(plain[player])

    for one in [greenpool.spawn(play, player) for player in range(4)]:
        one.get()


def test_values_that_refer_to_their_own_local_are_let_go() -> None:
    thing: Any = Thing()
    thing.local = local()
    thing.local.thing = thing
    reference = weakref.ref(thing)
    del thing
    gc.collect()
    assert reference() is None


def test_a_value_that_has_a_local_itself_is_let_go_with_all_others() -> None:
    class Connection:
        def __init__(self) -> None:
            self.own = local()
            self.own.buffer = 1

    class Value:
        pass

    first, second = local(), local()
    values: list[weakref.ref[Value]] = []

    def use() -> None:
        first.began = True
        first.connection = Connection()
        second.value = Value()
        values.append(weakref.ref(second.value))

    for _ in range(50):
        greenpool.spawn(use).join()
    gc.collect()
    assert not any(value() for value in values)


def test_a_local_that_is_dropped_while_a_finalizer_runs_leaves_nothing_to_the_next() -> None:
    """The next local has the same address."""
    shared = [local()]
    dropped, go_on = Event(), Event()

    class Value:
        def __del__(self) -> None:
            # This is the only reference to the local while its greenlet ends.
            shared.clear()
            dropped.set()
            go_on.wait()

    def use() -> None:
        shared[0].value = Value()

    shared[0].secret = "of the first"
    greenlet = greenpool.spawn(use)
    dropped.wait()
    locals_ = [local() for _ in range(50)]
    assert not any(hasattr(each, "secret") for each in locals_)
    for each in locals_:
        each.value = 1
    go_on.set()
    greenlet.join()
    assert all(hasattr(each, "value") for each in locals_)


def test_names_that_are_made_at_run_time() -> None:
    class Slotted(local):
        __slots__ = ("shared",)

    here = Slotted()
    for name in ("num" + chr(98) + "er", "sha" + chr(114) + "ed", "__di" + chr(99) + "t__"):
        if name == "__dict__":
            assert getattr(here, name) == {"number": 1}
            with pytest.raises(AttributeError, match="read-only"):
                setattr(here, name, {})
        else:
            setattr(here, name, 1)
            assert getattr(here, name) == 1


def test_what_is_no_name_is_refused() -> None:
    here: Any = local()
    for name in (1, []):
        with pytest.raises(TypeError, match="attribute name must be string"):
            setattr(here, name, 1)
        with pytest.raises(TypeError, match="attribute name must be string"):
            getattr(here, name)


def test_a_thread_that_never_waits_and_a_raw_greenlet_have_values_of_their_own() -> None:
    here = local()
    seen = []

    def use(value: int) -> None:
        seen.append(hasattr(here, "number"))
        here.number = value
        seen.append(here.number)

    def thread() -> None:
        use(1)
        greenlet.greenlet(use).switch(2)
        seen.append(here.number)
        greenpool.sleep(0)
        seen.append(here.number)

    plain = threading.Thread(target=thread)
    plain.start()
    plain.join()
    assert seen == [False, 1, False, 2, 1, 1]
    assert not hasattr(here, "number")


def test_a_subclass_may_replace_the_access_to_attributes() -> None:
    class Noted(local):
        def __getattribute__(self, name: str) -> Any:
            if not name.startswith("_"):
                noted.append(f"get {name}")
            return super().__getattribute__(name)

        def __setattr__(self, name: str, value: object) -> None:
            noted.append(f"set {name}")
            super().__setattr__(name, value)

        def __delattr__(self, name: str) -> None:
            noted.append(f"delete {name}")
            super().__delattr__(name)

    noted: list[str] = []
    here = Noted()
    noted.clear()
    here.number = 1
    assert here.number == 1
    del here.number
    assert not hasattr(here, "number")
    assert noted == ["set number", "get number", "delete number", "get number"]
