"""What to write, for those who forget `async`. Type checkers report the mistake, so they must not see these methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn


class AsyncContext:
    """An object for `async with`: `with` is a TypeError that says so."""

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise TypeError(f"a {type(self).__name__} needs `async with` in place of `with`")

        def __exit__(self, *_: object) -> None:
            """Exist, because Python looks for it before it calls `__enter__`."""


class AsyncItems:
    """An object for `async for`: `for` and `await` are a TypeError that says so."""

    _whole = "collect()"  # what to await for all items

    if not TYPE_CHECKING:

        def __iter__(self) -> NoReturn:
            raise TypeError(f"a {type(self).__name__} needs `async for` in place of `for`, or `await ….{self._whole}`")

        def __await__(self) -> NoReturn:
            raise TypeError(f"a {type(self).__name__} needs `async for`, or `await ….{self._whole}` for all of it")
