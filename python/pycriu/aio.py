"""The operations for asyncio: ``await pycriu.aio.dump(pid, images_dir)``.

Each runs in a thread of its own, so the event loop goes on. Cancelling the task cancels the operation and waits until
everything is put back. ``progress``, ``log`` and ``notify`` are called in that thread; coroutine functions are run by the
loop, and what ``notify`` returns is waited for.
"""

import asyncio
import functools
import inspect
import threading

from . import _operations
from ._native import Canceller

__all__ = ["check", "dump", "pre_dump", "preflight", "restore"]


def _asynchronous(function):
    @functools.wraps(function)
    async def call(*args, **options):
        loop = asyncio.get_running_loop()
        token = options.pop("cancel", None) or Canceller()
        for name in ("progress", "log", "notify"):
            if inspect.iscoroutinefunction(options.get(name)):
                options[name] = _in_loop(loop, options[name])
        done = loop.create_future()

        def finish(result, error):
            if done.cancelled():
                return
            if error is None:
                done.set_result(result)
            else:
                done.set_exception(error)

        def run():
            try:
                outcome = function(*args, cancel=token, **options), None
            except BaseException as e:  # noqa: B902  whatever it is, it is the caller's
                outcome = None, e
            loop.call_soon_threadsafe(finish, *outcome)

        threading.Thread(target=run, name=f"pycriu.{function.__name__}", daemon=True).start()
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            token.cancel()
            await asyncio.wait([done])
            if not done.cancelled():
                done.exception()  # Cancelled, or success that came too early: the task is cancelled all the same.
            raise

    return call


def _in_loop(loop, function):
    def call(*args):
        return asyncio.run_coroutine_threadsafe(function(*args), loop).result()

    return call


check = _asynchronous(_operations.check)
dump = _asynchronous(_operations.dump)
pre_dump = _asynchronous(_operations.pre_dump)
preflight = _asynchronous(_operations.preflight)
restore = _asynchronous(_operations.restore)
