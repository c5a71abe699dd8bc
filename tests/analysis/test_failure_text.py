from __future__ import annotations

import pytest

from buddy_sessions.analysis.causes import without_library_frames

JAVASCRIPT = """\
TypeError: Cannot read properties of undefined (reading 'reduce')
    at reduce (/repo/src/cart.js:1:44)
    at Object.total (/repo/tests/cart.test.js:13:38)
    at Promise.finally.completed (/repo/node_modules/jest-circus/build/jestAdapterInit.js:1834:28)
    at new Promise (<anonymous>)
    at process.processImmediate (node:internal/timers:483:21)
    at node:internal/main/run_main_module:36:49
  [cause]: no cart"""
PYTHON = """\
Traceback (most recent call last):
  File "/repo/tests/test_cart.py", line 7, in test_total
    total(None)
  File "/repo/.venv/lib/python3.12/site-packages/decimal.py", line 12, in total
    return sum(
        values)
    ^^^^^^^^^^^
TypeError: 'NoneType' object is not iterable"""
PYTEST = """\
Traceback:
/usr/lib/python3.11/importlib/__init__.py:126: in import_module
    return _bootstrap._gcd_import(name[level:], package, level)
tests/test_broken.py:1: in <module>
    import does_not_exist
E   ModuleNotFoundError: No module named 'does_not_exist'"""
JAVA = """\
java.lang.IllegalStateException: no cart
\tat java.base/java.util.Optional.orElseThrow(Optional.java:403)
\tat com.shop.CartTest.total(CartTest.java:17)
\tat org.junit.platform.engine.support.hierarchical.NodeTestTask.execute(NodeTestTask.java:151)"""


@pytest.mark.parametrize(
    ("trace", "dropped"),
    [(JAVASCRIPT, [3, 4, 5, 6]), (PYTHON, [3, 4, 5, 6]), (PYTEST, [1, 2]), (JAVA, [1, 3])],
    ids=["JavaScript", "Python", "pytest", "Java"],
)
def test_frames_of_libraries_are_left_out(trace: str, dropped: list[int]) -> None:
    lines = [line for number, line in enumerate(trace.splitlines()) if number not in dropped]
    assert without_library_frames(trace) == "\n".join(lines)


@pytest.mark.parametrize("text", ["", "look at (node:internal/timers:483:21)\nin node_modules"], ids=repr)
def test_text_without_frames_stays(text: str) -> None:
    assert without_library_frames(text) == text
