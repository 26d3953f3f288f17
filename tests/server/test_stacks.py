"""observe/stacks.py: what a process that does not answer is busy with."""

import asyncio

from tricorn.observe.stacks import MOST_TASKS, describe


async def waiter() -> None:
    await asyncio.Event().wait()


def test_every_task_says_its_name_and_where_it_waits():
    async def main() -> str:
        task = asyncio.create_task(waiter(), name="the waiter")
        await asyncio.sleep(0)
        text = describe({task})
        task.cancel()
        return text

    first, second, third, *_ = asyncio.run(main()).splitlines()
    assert (first, second) == ("1 tasks:", "the waiter waiter")
    assert third.endswith("in waiter") and "test_stacks.py" in third


def test_task_that_runs_is_said_to():
    async def main() -> str:
        return describe(asyncio.all_tasks(), asyncio.current_task())

    assert asyncio.run(main()).splitlines()[2] == "  runs now, see the stack of its thread"


def test_thousands_of_tasks_are_counted_rather_than_written():
    async def main() -> str:
        tasks = {asyncio.create_task(waiter()) for _ in range(MOST_TASKS + 7)}
        await asyncio.sleep(0)
        text = describe(tasks)
        for task in tasks:
            task.cancel()
        return text

    lines = asyncio.run(main()).splitlines()
    assert lines[-1] == "and 7 more"
    assert sum(line.startswith("Task-") for line in lines) == MOST_TASKS
