"""Prints the help of every command as a page of the site."""

from __future__ import annotations

import re

from buddy_sessions.cli.app import app

INTRODUCTION = """# The help of every command

`buddy-sessions COMMAND --help` prints the same. [The guide](README.md) says which command answers your question, and
what the [exit codes](README.md#exit-codes) mean.
"""
CONNECTION = re.compile(r"\*\*Connection\*\*:\n\n((?:\* .*\n){3,})")  # two options are those of a command for a file


def help_page() -> str:
    """Return the page: an introduction, the commands, the help of each, and the options that most of them share."""
    text = app.generate_docs(output_format="markdown") + "\n"
    text = re.sub(r"\n {4,}", " ", text)  # a line of an option that goes on
    text = re.sub(r"^- (.*)$", r"    \1", text, flags=re.MULTILINE)  # an example
    text = re.sub(r"^## buddy-sessions (--)?", "## ", text, flags=re.MULTILINE).replace("(#buddy-sessions-", "(#")
    text = re.sub(r"^(buddy-sessions (\w+)) \2 ", r"\1 ", text, flags=re.MULTILINE)  # a usage of our own
    _, begin, text = text.partition("**A new account**")
    (connection,) = set(CONNECTION.findall(text))
    text = CONNECTION.sub("And the options of the [connection](#connection).\n", text)
    return "\n".join([INTRODUCTION, begin + text.strip() + "\n", f"## Connection\n\n{connection}"])


if __name__ == "__main__":
    print(help_page(), end="")
