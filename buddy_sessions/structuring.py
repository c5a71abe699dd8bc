"""Writes the function that makes a frozen model from a JSON object: what cattrs would write, at half the cost.

Two things save it. A value that its field takes as it is passes without a call. And the `__init__` of a frozen class
sets each field by `object.__setattr__`, which costs more than all checks together: so the object is filled as an
instance of a subclass that is not frozen and adds nothing, and becomes one of the model before anyone sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
from types import NoneType
from typing import Any, NoReturn, TypeVar, get_args

import attrs
import cattrs

_M = TypeVar("_M", bound=attrs.AttrsInstance)

_AS_IT_IS: dict[Any, type] = {str: str, int: int, bool: bool, int | float: int}
"""For a field's type, the type whose every value the converter's hook gives back as it is."""


def make_structure_fn(
    model: type[_M], converter: cattrs.Converter, refuse: Callable[[Any], NoReturn], **hooks: Callable[[Any, Any], Any]
) -> Callable[[Any, Any], _M]:
    """Return a hook that makes a `model` from a dict; it raises what the fields' hooks raise, or KeyError.

    Args:
        model: A frozen attrs class with slots. A field that may be missing is None by default, and may be None.
        converter: Knows a hook for the type of each field; the hook is never asked about None where None may be.
        refuse: Raises, given what is no dict.
        hooks: Fields' own hooks, instead of those for their types.
    """
    attrs.resolve_types(model)
    # Both: they are one slot in C, which looks them up in Python each time unless neither is inherited from the model.
    thawed = {"__slots__": (), "__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    scope: dict[str, Any] = {
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
        name, optional = field.name, field.default is None
        kind = reduce(or_, [one for one in get_args(field.type) if one is not NoneType] or [field.type])
        scope[f"kind_{name}"] = kind
        scope[f"hook_{name}"] = hooks.get(name) or converter.get_structure_hook(kind)
        easy = [f"type(value) is {_AS_IT_IS[kind].__name__}"] if kind in _AS_IT_IS and name not in hooks else []
        easy += ["value is None"] if optional else []
        structured = f"hook_{name}(value, kind_{name})"
        lines += [
            f"    value = get({name!r})" if optional else f"    value = item[{name!r}]",
            f"    made.{name} = " + (f"value if {' or '.join(easy)} else {structured}" if easy else structured),
        ]
    lines += ["    made.__class__ = model", "    return made"]
    exec("\n".join(lines), scope)  # noqa: S102 - as attrs and cattrs do; the fields' names are all that varies
    structure: Callable[[Any, Any], _M] = scope["structure"]
    return structure
