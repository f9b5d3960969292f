"""Work done ahead in threads, results in order; errors appear where the result is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_background(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = 1, ahead: int = 2
) -> Iterator[Result]:
    """Yield function(item) for each item, in order, computed by `workers` threads at most `ahead` results early.

    Items are taken from `items` as they are needed. Leaving the loop early stops the threads after what they are at.
    """
    with _closing(ThreadPoolExecutor(max(1, workers), thread_name_prefix="jaxport-data")) as pool:
        queue: deque[Future[Result]] = deque()
        for item in items:
            queue.append(pool.submit(function, item))
            if len(queue) > ahead + max(1, workers) - 1:
                yield queue.popleft().result()
        while queue:
            yield queue.popleft().result()


class _closing:
    """A pool that does not wait for work that nobody wants any more."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool

    def __enter__(self) -> ThreadPoolExecutor:
        return self.pool

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)
