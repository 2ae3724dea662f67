"""A block of code and a number of seconds in; `Late` out of the block where it takes longer."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

HARD = 10.0  # no call that the bounds of a page admit takes as long
expendable = False  # whether this process is a worker, whose end costs no more than the document at hand


class Late(BaseException):
    """Not an Exception: handlers inside the block, of third parties, must not swallow it."""


@contextlib.contextmanager
def deadline(seconds: float, hard: float | None = None) -> Iterator[None]:
    """Raises `Late` in the main thread after `seconds`; an alarm that someone else had set comes when it was due.

    Kept by SIGALRM: elsewhere than in a main thread there is no deadline. It comes again each second, because what is
    raised inside a destructor is lost. Inside one call into C it is kept when that call returns; a worker process that
    such a call holds for `hard` seconds of processor time (if none, HARD more) is ended by SIGPROF, and the run goes on
    without the document at hand.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise Late

    handler = signal.signal(signal.SIGALRM, late)
    started = time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    outermost = expendable and not signal.getitimer(signal.ITIMER_PROF)[0]
    if outermost:
        signal.setitimer(signal.ITIMER_PROF, seconds + HARD if hard is None else hard)  # nobody handles it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if outermost:
            signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - started), 1e-6), interval)
