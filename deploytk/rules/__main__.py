"""`python -m deploytk.rules [docs/rules.md]`: the table of all rules, from their docstrings."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from deploytk.files import write_text
from deploytk.rules import activations
from deploytk.rules.ethos_u_rules import RULES, Rule

_HEAD = """# Rules

What `deploytk check` looks for. This file is made from the docstrings of the rules, by
`python -m deploytk.rules docs/rules.md`.

## Activation contract

See [activation-contract.md](activation-contract.md).

| rule | severity | found |
|---|---|---|
"""
_NPU = """
## What an Ethos-U takes of an ONNX graph

Read from Vela 5.2.0 (`vela --supported-ops-report`). They predict the placement after INT8 conversion; compiling the
INT8 model proves it. A node for which a rule does not hold is predicted to stay on the CPU.

| rule | families | operators | what holds |
|---|---|---|---|
"""


def table() -> str:
    """docs/rules.md as text."""
    contract = re.findall(r"^\s*(ACT\d{3})  (\w+) +(.+)$", activations.__doc__ or "", re.MULTILINE)
    rows = [f"| {code} | {severity} | {text} |\n" for code, severity, text in contract]
    return _HEAD + "".join(rows) + _NPU + "".join(_row(rule) for rule in RULES)


def _row(rule: type[Rule]) -> str:
    families = ", ".join(f.upper() for f in sorted(rule.families))
    ops = ", ".join(sorted(rule.ops)) or "all"
    return f"| {rule.code} | {families} | {ops} | {(rule.__doc__ or '').strip()} |\n"


def main() -> None:
    """Print the table, or write it to the file that is named."""
    if len(sys.argv) > 1:
        write_text(Path(sys.argv[1]), table())
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
