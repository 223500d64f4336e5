"""Threads for calls that would block an event loop: one bounded pool for each purpose.

If the calls of one purpose hang, such as writes to a server that does not answer, only
the threads and the queue of that purpose are full.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from .errors import Unavailable
from .fork import start_anew_after_fork


class Job:
    """One call that waits for a thread, or runs in one."""

    def __init__(self, call: Callable[[], Any], done: Callable[[], None]) -> None:
        self._call = call
        self._done = done
        self._answer: Any = None
        self._error: BaseException | None = None
        self.has_begun = False
        self.is_given_up = False

    def run(self) -> None:
        """Make the call, and then call *done*."""
        try:
            self._answer = self._call()
        except BaseException as error:
            self._error = error
        self._done()

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        if self._error is None:
            return self._answer
        try:
            raise self._error
        finally:
            self._error = None  # else the traceback would keep itself alive


class Pool:
    """At most *threads* threads for the calls of one purpose.

    - *waiting*: calls that may wait for a thread; a further call is refused at once.
    - *seconds*: how long a caller waits for the result.
    - *may_block*: False if the calls only compute.

    Threads start when they are needed, and do not keep a process from ending.  A forked
    child starts without threads and without the calls of its parent.
    """

    def __init__(
        self,
        purpose: str,
        *,
        threads: int,
        waiting: int,
        seconds: float,
        may_block: bool = True,
    ) -> None:
        self.purpose = purpose
        self.seconds = seconds
        self.may_block = may_block
        self._most_threads = threads
        self._most_waiting = waiting
        self.start_anew()
        start_anew_after_fork(self)

    def start_anew(self) -> None:
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._threads = self._idle = self._waiting = 0

    def submit(self, call: Callable[[], Any], done: Callable[[], None]) -> Job:
        """Let a thread make *call*, and then call *done*.

        Raise Unavailable if too many calls wait already, or if the pool has no thread
        and none can be started.
        """
        job = Job(call, done)
        with self._lock:
            if self._waiting >= self._most_waiting:
                raise Unavailable(f"too many {self.purpose} wait for a thread")
            self._waiting += 1
            has_room = self._threads < self._most_threads
            needs_thread = has_room and self._idle < self._waiting
            self._threads += needs_thread
        self._jobs.put(job)
        if needs_thread:
            self._start(job)  # without the lock: a start may block
        return job

    def give_up(self, job: Job) -> None:
        """Note that nobody waits for *job*, so that it does not begin any more."""
        with self._lock:
            if not job.has_begun and not job.is_given_up:
                job.is_given_up = True
                self._waiting -= 1

    def _start(self, job: Job) -> None:
        try:
            threading.Thread(
                target=self._work,
                name=f"jwt_middleware {self.purpose}",
                daemon=True,
            ).start()
        except RuntimeError as error:  # the system has no more threads
            with self._lock:
                self._threads -= 1
                others = self._threads
            if not others:
                self.give_up(job)
                raise Unavailable(f"no thread for {self.purpose}") from error

    def _work(self) -> None:
        jobs = self._jobs
        while True:
            with self._lock:
                self._idle += 1
            job = jobs.get()
            with self._lock:
                self._idle -= 1
                job.has_begun = not job.is_given_up
                self._waiting -= job.has_begun
            if job.has_begun:
                job.run()
            del job  # else its result would stay in memory until the next job


CHECKS = Pool("signature checks", threads=4, waiting=2048, seconds=5.0, may_block=False)
"""Checks of slow signatures take a fraction of a millisecond to milliseconds."""
READS = Pool("reads of a store", threads=16, waiting=1024, seconds=10.0)
"""Lookups in a store that has no copy in memory: one for each request."""
WRITES = Pool("writes to a store", threads=16, waiting=256, seconds=10.0)
"""Revocations, and the single uses of refresh tokens and proofs."""
