"""The first lines of a version's description: where its evidence, approval and rollouts are.

They are first because MLflow's column is short and a long description is cut at its end. Each is
written by whoever knows it, and replaces its own line only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

EVIDENCE, APPROVAL, ROLLOUT = "Evidence", "Approval", "Rollout"
"""What a line is about; a rollout's is followed by its fleet."""
LINE = re.compile(r"- \*\*(?P<about>(?:Evidence|Approval|Rollout)(?: [\w-]+)?)\*\*: ")
LONGEST_TEXT = 200
ORDER = (EVIDENCE, APPROVAL, ROLLOUT)


def with_links(description: str, changes: Mapping[str, str]) -> str:
    """Return a description in which these lines say so, and every other character is kept."""
    found: dict[str, str] = {}
    lines = description.split("\n")
    while lines and (match := LINE.match(lines[0])):
        found[match["about"]] = lines.pop(0)[match.end() :]
    if found and lines and not lines[0]:
        lines.pop(0)
    found.update(changes)
    ordered = sorted(found, key=lambda about: (ORDER.index(about.partition(" ")[0]), about))
    head = [f"- **{about}**: {found[about]}" for about in ordered]
    return "\n".join([*head, "", *lines]) if head else description


def plain(text: str) -> str:
    """Return what a person wrote as one line that Markdown shows as it is."""
    one_line = " ".join(text.split())
    if len(one_line) > LONGEST_TEXT:
        one_line = f"{one_line[: LONGEST_TEXT - 1]}…"
    return re.sub(r"([\\`*_\[\]()<>#|!~])", r"\\\1", one_line)


def link(text: str, address: str | None) -> str:
    """Return a Markdown link; without an address the text alone."""
    return f"[{text}]({address})" if address else text
