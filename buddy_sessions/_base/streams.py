"""`Stream`: the base class of all async iterators of this package; `Pages`: the same read, page by page.

A step is one `anext`. An async generator would not do: a step that is cancelled, for instance by a timeout, ends it,
and the next step looks like the end of the list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from operator import length_hint
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

_P = TypeVar("_P")
_T = TypeVar("_T")


class AsyncContext:
    """An object for `async with`: a plain `with` raises a TypeError that says so. Type checkers report it, too."""

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise TypeError(f"a {type(self).__name__} needs `async with` in place of `with`")

        def __exit__(self, *_: object) -> None:
            """Exist, because Python looks for it before it calls `__enter__`."""


class Stream(AsyncContext, ABC, AsyncIterator[_T], Generic[_T]):
    """An async iterator whose state is in this object, so that a step that is cancelled loses nothing.

    One object is one read. After an error, each step raises that error again.
    """

    _whole = "collect()"  # what to await for all items; empty if they never end

    def __init__(self) -> None:
        self._batch: Iterator[_T] = iter(())  # what was read, and is not yielded yet; its length is known
        self._dropped = 0  # items that were read, and not yielded before the stream was closed
        self._final: Exception | None = None  # what each step raises from now on
        self._is_stepping = False

    @abstractmethod
    async def _read(self) -> Sequence[_T] | None:
        """Return the next items, perhaps none; None at the end. Change nothing before the last await."""

    @abstractmethod
    async def _stop(self) -> None:
        """Stop the requests, and wait until they have ended."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled: create a client in each process, and read there")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        for item in self._batch:
            return item
        while True:
            self._batch = iter(await self._step(self._read))
            for item in self._batch:
                return item

    async def _step(self, read: Callable[[], Awaitable[_P | None]]) -> _P:
        """Return what was read. Raise StopAsyncIteration at the end."""
        if self._final is not None:
            raise self._final.with_traceback(None)
        if self._is_stepping:
            raise RuntimeError(f"another task is iterating over this {type(self).__name__}: only one can at a time")
        self._is_stepping = True
        try:
            items = await read()
            if items is not None and self._final is None:
                return items
            self._final = self._final or StopAsyncIteration()  # `aclose` may have ended it meanwhile
        except Exception as error:  # noqa: BLE001 - raised below, and by each later step
            self._final = self._final or error
        finally:
            self._is_stepping = False
        await self._stop()
        raise self._final

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the requests, and wait until they have ended. Later steps raise StopAsyncIteration. Call it any time."""
        self._dropped, self._batch = self._unread, iter(())
        self._final = self._final or _Closed()
        await self._stop()

    async def _collect(self) -> list[_T]:
        """Return the rest of the items. If it fails or is cancelled, the next step begins with them."""
        items: list[_T] = []
        try:
            async for item in self:
                items.append(item)  # noqa: PERF401 - a comprehension would lose them
        except BaseException:
            self._batch = iter([*items, *self._batch])
            await self._stop()  # probably, nobody will go on
            raise
        return items

    def _raise_if_closed(self) -> None:
        """Raise RuntimeError if a part would look like the whole."""
        if not self.is_complete:
            raise RuntimeError(
                f"this {type(self).__name__} was closed before its end: create another one to read again"
            )

    @property
    def _unread(self) -> int:
        """How many items were read, and not yielded."""
        return length_hint(self._batch) + self._dropped

    @property
    def is_complete(self) -> bool:
        """Whether it has yielded all it was asked for: False if it was closed early, or has failed."""
        return type(self._final) is StopAsyncIteration

    if not TYPE_CHECKING:

        def __iter__(self) -> NoReturn:
            other = f"await ….{self._whole}" if self._whole else "await anext(…)"
            raise TypeError(f"a {type(self).__name__} needs `async for`, or `{other}`")

        __await__ = __iter__


class Pages(AsyncContext, AsyncIterator[_P], Generic[_P]):
    """The pages of a stream: the same read, so a loop over pages goes on where the one over items was left."""

    def __init__(
        self, stream: Stream[Any], take_rest: Callable[[], _P | None], read: Callable[[], Awaitable[_P | None]]
    ) -> None:
        self._stream = stream
        self._take_rest = take_rest  # of the current page; None if there is none
        self._read = read

    def __repr__(self) -> str:
        return f"<Pages of {self._stream!r}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _P:
        rest = self._take_rest()
        return await self._stream._step(self._read) if rest is None else rest  # noqa: SLF001 - of the same module

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the stream, as its own `aclose` does."""
        await self._stream.aclose()


class _Closed(StopAsyncIteration):
    """Marks a stream that was closed early."""
