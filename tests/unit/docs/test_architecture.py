from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "architecture.md"


def modules() -> Iterator[str]:
    """Return a line a module, as the page has them: its path, and the first line of its docstring."""
    for package in ("gateway", "services"):
        for path in sorted((ROOT / package).rglob("*.py"), key=lambda each: (each.parent, each.name)):
            docstring = ast.get_docstring(ast.parse(path.read_text()))
            if docstring and path.name != "__init__.py":
                yield f"- `{path.relative_to(ROOT)}`: {docstring.splitlines()[0]}"


def test_the_architecture_names_every_module_in_its_own_words():
    written = [line for line in PAGE.read_text().splitlines() if line.startswith("- `")]
    assert written == list(modules()), "paste what `python tests/unit/docs/test_architecture.py` prints"


if __name__ == "__main__":
    print(*modules(), sep="\n")  # noqa: T201
