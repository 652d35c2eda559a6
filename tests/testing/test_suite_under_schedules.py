"""The tests of the primitives, as they stand, under many schedules; ``suite`` says how they run.

The usual run takes few schedules for each, because there are many tests.  ``GREENPOOL_TEST_SCHEDULES=1000``
makes it a long one.
"""

from __future__ import annotations

import os
from functools import cache

import pytest

from . import suite

SCHEDULES = int(os.environ.get("GREENPOOL_TEST_SCHEDULES", "5"))

FILES = (
    "test_cancel",
    "test_event",
    "test_futures",
    "test_greenlet",
    "test_links",
    "test_lock",
    "test_pool",
    "test_queue",
    "test_shared_by_hubs_and_threads",
    "test_taskgroup",
    "test_timeout",
)

# The tests that cannot run so, each under the reason. A test is listed with all its parameters.
LEFT_OUT: dict[str, list[str]] = {
    "it counts on the order in which ready greenlets of one hub go on, which a schedule chooses": [
        "test_cancel.test_a_kill_that_waits_behind_a_cancellation_is_not_lost",
        "test_event.test_those_who_stay_keep_their_order",
        "test_event.test_those_who_wait_are_woken_in_order",
        "test_greenlet.test_kill_of_one_that_is_about_to_start",
        "test_greenlet.test_kill_while_ready_comes_with_the_next_wait",
        "test_greenlet.test_link_value_and_link_exception",
        "test_greenlet.test_start_order_is_spawn_order",
        "test_greenlet.test_start_schedules_and_does_not_run_at_once",
        "test_links.test_a_link_takes_back_the_next",
        "test_links.test_a_poll_does_not_wait_for_links",
        "test_links.test_links_run_before_a_later_join_returns",
        "test_links.test_links_that_are_due_run_before_a_join_returns",
        "test_links.test_what_is_due_can_be_unlinked",
        "test_pool.test_a_kill_makes_room_for_those_who_wait",
        "test_pool.test_first_come_first_served",
        "test_pool.test_imap_begins_no_more_than_maxsize",
        "test_pool.test_kill",
        "test_queue.test_a_getter_of_a_channel_goes_on_before_the_putter_that_it_waited_for",
        "test_queue.test_a_put_that_has_handed_over_its_item_is_not_killed",
    ],
    "a signal, a finalizer or a profile hook interrupts it": [
        "test_event.test_set_in_a_finalizer",
        "test_event.test_set_in_a_signal_handler",
        "test_lock.test_a_finalizer_between_two_greenlets_owns_the_lock_that_it_takes",
        "test_lock.test_a_finalizer_releases_it_at_any_point",
        "test_lock.test_a_handler_releases_what_the_main_program_waits_for",
        "test_lock.test_a_handler_takes_a_permit_at_any_point",
        "test_lock.test_a_handler_takes_an_rlock_that_it_has_to_wait_for_at_any_point",
        "test_lock.test_a_handler_uses_it_at_any_point",
        "test_lock.test_a_handler_uses_what_the_main_program_and_others_use",
        "test_lock.test_condition_handler_notifies",
        "test_queue.test_a_finalizer_puts",
        "test_queue.test_a_handler_puts_at_any_point",
        "test_queue.test_a_handler_puts_what_the_main_program_waits_for",
        "test_queue.test_a_handler_puts_while_others_wait",
        "test_queue.test_a_handler_works_off_the_last_task_at_any_point_of_join",
    ],
    "it goes round so often that one run takes too many steps": [
        "test_cancel.test_a_cancellation_that_crosses_the_exit_strikes_nobody",
        "test_event.test_greenlets_of_several_hubs_take_one_exception",
        "test_futures.test_many_at_once_from_many_threads",
        "test_links.test_joins_of_a_plain_threads_greenlet_behind_links_all_return",
        "test_links.test_links_from_many_threads_keep_the_order_of_each",
        "test_lock.test_a_semaphore_with_free_permits_never_looks_locked",
        "test_pool.test_a_member_that_leaves_while_it_is_added_again",
        "test_queue.test_a_copy_counts_what_is_in_it",
        "test_queue.test_copy_while_others_put_and_get",
        "test_queue.test_shutdown_among_puts",
        "test_queue.test_tasks_are_counted_by_threads",
        "test_shared_by_hubs_and_threads.test_a_producer_and_a_consumer_on_each_of_8_hubs",
        "test_shared_by_hubs_and_threads.test_increments",
        "test_shared_by_hubs_and_threads.test_one_consumer_gets_each_producer_s_items_in_order",
    ],
    "it looks at a Runtime, at its shutdown or its hubs, and not at the primitive": [
        "test_futures.test_of_a_greenlet_of_a_runtime_that_is_shut_down",
        "test_greenlet.test_links_run_when_the_pool_is_shut_down",
        "test_greenlet.test_spawn_tree_locals_are_those_of_the_tree",
        "test_pool.test_a_refused_spawn_leaves_no_member",
        "test_pool.test_an_imap_that_nobody_reads_ends",
        "test_pool.test_spreading_from_a_plain_thread",
        "test_pool.test_where_the_work_goes",
        "test_taskgroup.test_a_failure_on_another_hub_cancels_the_block_and_the_others",
        "test_taskgroup.test_a_refused_spawn_leaves_the_group_usable",
        "test_taskgroup.test_a_shutdown_does_not_disturb_the_clean_up",
        "test_taskgroup.test_a_shutdown_ends_groups",
        "test_taskgroup.test_bad_input",
        "test_taskgroup.test_where_the_greenlets_run",
    ],
    "it ends a greenlet with an exception that nobody asks for, which fails a run": [
        "test_greenlet.test_a_kill_with_no_exception_raises_a_base_exception",
        "test_greenlet.test_exception_that_kills_one_before_it_has_run_is_reported",
        "test_greenlet.test_hub_goes_on_where_stderr_is_broken",
        "test_links.test_links_that_raise_do_not_stop_the_next",
    ],
    "it looks at what is freed, and a run keeps its greenlets until it ends": [
        "test_cancel.test_a_scope_that_was_never_left_ends_with_its_greenlet",
        "test_futures.test_no_cycle_keeps_a_result_alive",
    ],
    "it is about plain threads without a hub, which a run does not have": [
        "test_futures.test_a_plain_thread_blocks_for_it",
        "test_futures.test_of_a_greenlet_that_ends_at_this_moment",
        "test_futures.test_submit_needs_no_hub_in_a_plain_thread",
        "test_futures.test_wait_and_as_completed_in_a_plain_thread",
        "test_futures.test_wait_for_a_real_thread",
    ],
    "it blocks its OS thread, in a loop or with a lock that was taken before patching": [
        "test_cancel.test_cancel_called_looks_at_the_clock",
        "test_lock.test_condition",
        "test_timeout.test_close_takes_back_one_that_has_struck_but_was_not_raised",
        "test_timeout.test_expiry_exactly_while_woken_comes_with_the_next_wait",
    ],
    "it runs another process": [
        "test_links.test_a_join_in_the_child_of_a_fork_does_not_wait_for_what_the_parent_was_to_call",
        "test_links.test_a_program_that_ends_after_a_join_has_run_the_links",
        "test_lock.test_fork",
    ],
    "it counts the frames of a traceback, and an operation of a run has one more": [
        "test_event.test_exception",
    ],
}

# At least so many run. A test that is added to a file runs without being listed; one that is left out in
# some other way than by the list above makes the number smaller.
AT_LEAST = 900

REASONS = {name: reason for reason, names in LEFT_OUT.items() for name in names}


@cache
def cases() -> list[suite.Case]:
    """The tests that run, with all their parameters."""
    return [
        case
        for name in FILES
        for case in suite.cases_of(name)
        if not suite.obstacle(case) and f"{name}.{case.name}" not in REASONS
    ]


ALONE = [case for case in cases() if not suite.needs_threads(case)]
WITH_THREADS = [case for case in cases() if suite.needs_threads(case)]


@cache
def reports(file: str) -> dict[str, str]:
    """The reports of the tests with threads of *file*, from one patched child."""
    return suite.explore_patched([case for case in WITH_THREADS if case.module.__name__ == file], SCHEDULES)


@pytest.mark.time_limit(60 + SCHEDULES)
@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.id)
def test_it_holds_under_all_schedules(case: suite.Case) -> None:
    report = suite.explore(case, SCHEDULES, patch=False)
    assert not report, report


@pytest.mark.time_limit(60 + 20 * SCHEDULES)
@pytest.mark.parametrize("case", WITH_THREADS, ids=lambda case: case.id)
def test_it_holds_with_threads_under_all_schedules(case: suite.Case) -> None:
    report = reports(case.module.__name__)[case.id]
    assert not report, report


def test_no_test_is_left_out_silently() -> None:
    assert len(cases()) >= AT_LEAST


def test_each_test_that_is_left_out_exists() -> None:
    names = {f"{name}.{case.name}" for name in FILES for case in suite.cases_of(name)}
    assert REASONS.keys() <= names
    assert len(REASONS) == sum(map(len, LEFT_OUT.values()))
