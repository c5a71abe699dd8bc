"""The parts of the site that `mkdocs.yml` cannot say: which pages it has, what of a class is public, and `llms.txt`.

The pages are the guides, where they are in the repository, and the reference of every public name.
"""

from __future__ import annotations

import ast
import inspect
import re
import runpy
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import buddy_sessions
from buddy_sessions import testing

ROOT = Path(__file__).parents[2]
GUIDES = {
    "README.md": "what it does, with an example of each part",
    "buddy_sessions/README.md": "the library: reading, many suites, a database, bots, gates, fields, settings, errors",
    "buddy_sessions/cli/README.md": "the command line: red suites, causes, flaky tests, agents, exit codes",
    "buddy_sessions/cli/GATE.md": "a gate in CI: set it up, what it checks, quarantine",
    "buddy_sessions/cli/HELP.md": "all options of every command",
    "buddy_sessions/store/README.md": "the database: tables, and how it stays right",
    "buddy_sessions/testing/README.md": "test your own code with a fake Buddy",
    "buddy_sessions/_paging/README.md": "how a moving list is read exactly",
    "buddy_sessions/LIMITS.md": "what the package cannot notice, or only estimates",
    ".github/CONTRIBUTING.md": "the map of the code, how to run what, how to add something",
    ".github/SECURITY.md": "the security policy",
    "CHANGELOG.md": "what a user can do now",
}
HELP = "buddy_sessions/cli/HELP.md"
"""The guide that is no file: its text is generated."""
REFERENCE = {  # the title of each page, and the modules whose public names it has; the first page has all others
    "Reading": (),
    "Client": ("_client",),
    "Values": ("models", "_decoding", "_export"),
    "Analysis": ("analysis",),
    "Database": ("store",),
    "Errors": ("errors",),
    "Testing": ("testing",),
}


def public_names(page: str) -> Iterator[tuple[str, Any]]:
    """Yield the public names of a page of the reference, with their modules, and what they name."""
    owners = {module: title for title, modules in REFERENCE.items() for module in modules}
    imports = [
        node for node in ast.walk(ast.parse(inspect.getsource(buddy_sessions))) if isinstance(node, ast.ImportFrom)
    ]
    origins = {alias.name: (node.module or "").split(".")[0] for node in imports for alias in node.names}
    for module in (buddy_sessions, testing):
        for name in module.__all__:
            origin = "testing" if module is testing else origins.get(name, "")
            if not name.startswith("_") and owners.get(origin, "Reading") == page:
                yield f"{module.__name__}.{name}", getattr(module, name)


def has_public_constructor(value: object) -> bool:
    """Return whether a class describes the arguments of its constructor."""
    return inspect.isclass(value) and "\nArgs:\n" in (inspect.getdoc(value) or "")


def reference_page(title: str) -> str:
    """Return the Markdown of a page of the reference."""
    lines = [f"# {title}", ""]
    if title == "Errors":
        lines += ["```text", inspect.getdoc(buddy_sessions.errors) or "", "```", ""]
    if title == "Analysis":
        lines += [(inspect.getdoc(buddy_sessions.analysis) or "").partition("\nExample")[0], ""]
    for name, value in public_names(title):
        is_enum = inspect.isclass(value) and issubclass(value, Enum)  # its members have no docstrings
        options = {
            "merge_init_into_class": has_public_constructor(value),
            "show_if_no_docstring": is_enum,
            "show_labels": not is_enum,
        }
        lines += [f"::: {name}", "    options:", *(f"      {key}: {option}" for key, option in options.items()), ""]
    return "\n".join(lines)


def guide_text(name: str) -> str:
    """Return the text of a guide."""
    if name != HELP:
        return (ROOT / name).read_text(encoding="utf-8")
    return str(runpy.run_path(str(Path(__file__).with_name("help.py")))["help_page"]())


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the guides, the files that they link, and the reference."""
    paths = {ROOT / name for name in GUIDES if name != HELP}
    for guide in list(paths):
        links = re.findall(r'(?:\]\(|(?:src|srcset)=")([^)"#:]+)[)"]', guide.read_text(encoding="utf-8"))
        paths |= {(guide.parent / link).resolve() for link in links}
    for path in sorted(path for path in paths if path.is_file()):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, content=path.read_bytes()))
    files.append(File.generated(config, HELP, content=guide_text(HELP)))
    for title in REFERENCE:
        files.append(File.generated(config, f"reference/{title.lower()}.md", content=reference_page(title)))
    return files


def on_post_build(*, config: MkDocsConfig) -> None:
    """Write `llms.txt`, an index of the guides, and `llms-full.txt`, the guides and the reference in one file."""
    index = ["# buddy_sessions", "", f"> {config.site_description}", "", "## Guides", ""]
    full = []
    for name, content in GUIDES.items():
        text = guide_text(name)
        target = Path(config.site_dir, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        index.append(f"- [{name}]({name}): {content}")
        full += [f"<!-- {name} -->", text]
    index += ["", "## Reference", "", "- [All guides and the reference in one file](llms-full.txt)", ""]
    for title in REFERENCE:
        full += [f"# Reference: {title}", ""]
        for name, value in public_names(title):
            full += [f"## {name}{_signature(value)}", "", inspect.getdoc(value) or "", ""]
            for member, method in vars(value).items() if inspect.isclass(value) else ():
                if not member.startswith("_") and inspect.isfunction(method):
                    full += [f"### {member}{_signature(method)}", "", inspect.getdoc(method) or "", ""]
    Path(config.site_dir, "llms.txt").write_text("\n".join(index), encoding="utf-8")
    Path(config.site_dir, "llms-full.txt").write_text("\n".join(full), encoding="utf-8")


def _signature(value: object) -> str:
    if inspect.isclass(value) and not has_public_constructor(value):
        return ""
    return str(inspect.signature(value)) if callable(value) else ""


class Examples(griffe.Extension):
    """Reads the section `Example:` of a docstring as one of code."""

    def on_instance(self, *, obj: griffe.Object, **_: object) -> None:
        """Rename the section."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"(?m)^Example:$", "Examples:", obj.docstring.value)
