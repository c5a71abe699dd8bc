"""Writes the function that makes a frozen model from a JSON object: what cattrs would write, in half the time.

Two things save it. A value that its field takes as it is passes without a call. And a frozen class pays for each field
that its `__init__` sets (`object.__setattr__`, three times the cost of the checks): so the object is filled as an
instance of a subclass that is not frozen and adds nothing, and becomes one of the model before anyone sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
from types import NoneType
from typing import Any, TypeVar, get_args

import attrs
import cattrs

_M = TypeVar("_M", bound=attrs.AttrsInstance)

_AS_IT_IS: dict[Any, type] = {str: str, int: int, bool: bool, int | float: int}
"""For a field's type, the type of the values that its hook gives back unchanged, whatever they are."""


def make_structure_fn(
    model: type[_M], converter: cattrs.Converter, refuse: Callable[[Any], Any], **hooks: Callable[[Any, Any], Any]
) -> Callable[[Any, Any], _M]:
    """Return a hook that makes a `model` from a dict; it raises what the fields' hooks raise, or KeyError.

    Args:
        model: A frozen attrs class with slots. Its fields that may be missing are None by default.
        converter: Knows a hook for the type of each field, which need not know of None.
        refuse: Raises, given what is no dict.
        hooks: Fields' own hooks, instead of those for their types.
    """
    attrs.resolve_types(model)
    # Both, since they share one slot in C: a class that inherits either of them in Python pays for a look-up each time.
    thawed = {"__slots__": (), "__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    names: dict[str, Any] = {
        "new": object.__new__,
        "model": model,
        "thawed": type(model.__name__, (model,), thawed),
        "refuse": refuse,
    }
    lines = [
        "def structure(item, _):",
        "    if type(item) is not dict:",
        "        refuse(item)",
        "    get = item.get",
        "    made = new(thawed)",
    ]
    for field in attrs.fields(model):
        name = field.name
        optional = field.default is None
        kind = reduce(or_, [kind for kind in get_args(field.type) if kind is not NoneType] or [field.type])
        names[f"kind_{name}"] = kind
        names[f"hook_{name}"] = hooks.get(name) or converter.get_structure_hook(kind)
        easy = ["value is None"] if optional else []
        if kind in _AS_IT_IS and name not in hooks:
            easy.insert(0, f"type(value) is {_AS_IT_IS[kind].__name__}")
        made = f"hook_{name}(value, kind_{name})"
        lines += [
            f"    value = get({name!r})" if optional else f"    value = item[{name!r}]",
            f"    made.{name} = " + (f"value if {' or '.join(easy)} else {made}" if easy else made),
        ]
    lines += ["    made.__class__ = model", "    return made"]
    exec("\n".join(lines), names)  # noqa: S102 - as attrs and cattrs do; names of fields are all that varies
    structure: Callable[[Any, Any], _M] = names["structure"]
    return structure
