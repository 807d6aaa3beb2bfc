"""Puts the measured tables into docs/performance.md: what stands between two markers is made from bench/results/*.json.

python bench/peers/page.py

    <!-- results: NAME -->
    <!-- end of results -->
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from results import RESULTS, markdown

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
_PART = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def filled(page: str, results: Path) -> str:
    """The page with every table as measured, or the sentence that it has not been measured."""
    return _PART.sub(lambda found: f"{found[1]}{shown(found[2], results)}{found[3]}", page)


def shown(name: str, results: Path) -> str:
    """One table with what it says, how it came about and the machine."""
    path = results / f"{name}.json"
    if not path.is_file():
        return "Not measured yet.\n"
    return markdown(json.loads(path.read_text(encoding="utf-8")))


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), RESULTS), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
