"""Why a greenlet parks and with which stack, found at the moment at which it does.

As in survey.py the reason is found in the frames of the parked greenlet.  Here greenlets park again and again
at the same few places, so each stack is described once and has a number.  Only the objects that are waited
for are looked at anew.

*Threads*: the thread of one hub.
"""

from __future__ import annotations

from .frames import stack_of
from .holds import held_by
from .speedups import speedups
from .state import GreenThread, HubState, Wait
from .survey import Shape, Stack, Tables, Template, subjects_of
from .task import Task
from .waiter import Sleep, Waiter
from .waits import ParkedGreenlet

# The number of a stack, the call that waits, such as "Event.wait", and what it waits for.
Reason = tuple[int, str, str]


def stack_key(greenlet: GreenThread) -> object:
    """What greenlets with equal stacks have in common; valid as long as somebody refers to their code."""
    return tuple([(id(frame.f_code), frame.f_lasti) for frame in stack_of(greenlet)])


if speedups is not None:
    stack_key = speedups.stack_key


# Waits that are kept to be found again.
MOST_KNOWN = 10_000


class ParkReasons:
    """The reasons for which the greenlets of one hub park."""

    def __init__(self, hub: HubState) -> None:
        self._hub = hub
        self._tables = Tables()
        self._shapes: dict[object, tuple[int, Shape]] = {}
        # By the number of the stack and the guard, which belongs to the object that is waited for.  It is
        # referred to, so its identity stays; it does not refer to the object.
        self._known: dict[tuple[int, object], Reason] = {}
        # Descriptors by the identity of the waiter that has last waited to read.
        self._readers: dict[int, int] = {}
        self.stacks: list[Stack] = []

    def reason_of(self, greenlet: GreenThread) -> Reason:
        """Why *greenlet*, which is switched out and has a waiter, is parked."""
        key = stack_key(greenlet)
        known = self._shapes.get(key)
        if known is None:
            frames = stack_of(greenlet)
            shape = Shape(frames, self._tables)
            known = self._shapes[key] = (len(self.stacks), shape)
            self.stacks.append(self._tables.stacks[shape.stack] or ())
        number, shape = known
        waiter = greenlet.waiter
        guard = waiter.guard if isinstance(waiter, Waiter) else None
        if guard is None:
            return self._find_reason(greenlet, number, shape)
        reason = self._known.get((number, guard))
        if reason is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            reason = self._known[number, guard] = self._find_reason(greenlet, number, shape)
        return reason

    def _find_reason(self, greenlet: GreenThread, number: int, shape: Shape) -> Reason:
        plain = None if shape.subjects else shape.templates.get(())
        if plain is not None and not plain.parts:
            return number, plain.call, self._describe(greenlet.waiter)
        frames = stack_of(greenlet)
        subjects = subjects_of(shape, frames)
        kinds = tuple(map(type, subjects))
        template = shape.templates.get(kinds)
        if template is None or template.parts is None:
            task = greenlet.task
            if not isinstance(task, Task):
                return number, "", ""
            wait = ParkedGreenlet(greenlet, task, held_by, frames, lambda _greenlet: "")
            template = shape.templates[kinds] = Template(wait, subjects)
            if template.parts is None:
                return number, wait.call, wait.phrase
        if template.parts:
            return number, template.call, template.phrase(subjects)
        return number, template.call, self._describe(greenlet.waiter)

    def _describe(self, waiter: Wait | None) -> str:
        """What a *waiter* waits for that no object in the frames tells of: time, or a descriptor."""
        if waiter is None or isinstance(waiter, Sleep):
            return ""
        table = self._hub.registrations
        known = table.get(self._readers.get(id(waiter), -1))
        if known is not None and known.reader is waiter:
            return f"waits for descriptor {known.fd} to be readable"
        # A new wait is mostly for a new descriptor.
        for registration in reversed(table.values()):
            if registration.reader is waiter:
                self._readers[id(waiter)] = registration.fd
                return f"waits for descriptor {registration.fd} to be readable"
            if any(waiting is waiter for waiting in registration.waiters()):
                return f"waits for descriptor {registration.fd} to be ready"
        return ""
