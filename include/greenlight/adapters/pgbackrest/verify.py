"""What `pgbackrest verify` found, which only its text says: it exits 0 on a damaged copy.

It reads every object of the repository and reports on all copies. It does not look for gaps in the
log, nor whether a copy has the log it needs: that is done here. Text that isn't known counts
against the copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from greenlight.adapters.pgbackrest.failures import LONGEST, failure_in_words
from greenlight.adapters.pgbackrest.info import ListedCopy
from greenlight.adapters.pgbackrest.segments import LENGTH, Run, gaps, is_needed
from greenlight.core.errors import UnavailableError

ARGUMENTS = ("--output=text", "--verbose", "--log-level-stderr=detail", "--job-retry=1")
"""One more try at once. By default a file that can't be read takes 15 seconds, and a bundle that
was cut short holds hundreds."""

_LABEL = r"\d{8}-\d{6}F(?:_\d{8}-\d{6}[ID])?"
_ARCHIVE = re.compile(
    r"  archiveId: (?P<id>\S+), total WAL checked: (?P<all>\d+), total valid WAL: (?P<good>\d+)"
)
_COPY = re.compile(
    rf"  backup: (?P<label>{_LABEL}), status: (?P<status>[a-z -]+), "
    r"total files checked: (?P<all>\d+), total valid files: (?P<good>\d+)"
)
_PLAIN = re.compile(
    r"stanza: \S+|status: (?:ok|error)|  (?:archiveId|backup): none found"
    r"|    missing: \d+, checksum invalid: \d+, size invalid: \d+, other: \d+"
)
_LINE = re.compile(r"^(?:P\d+ +)?(?:DETAIL|INFO|WARN|ERROR): ")
_FILE = re.compile(r"(?P<what>invalid checksum|invalid size|file missing) '(?P<path>[^']+)'")
_UNREAD = re.compile(r"(?P<what>invalid result) (?P<path>\S+): \[(?P<code>\d+)\] (?P<why>.*)")
_RUN = re.compile(r"archiveId: (?P<id>\S+), wal start: (?P<first>\w+), wal stop: (?P<last>\w+)")
_USUAL = re.compile(
    r"verify command (?:begin|end)|stanza: |statistics: |no (?:archives|backups) exist in the repo"
    r"|archive path '.*' is empty|backup '.*' appears to be in progress, skipping"
)
_OF_COPY = re.compile(rf"(?:^|/|')(?P<label>{_LABEL})(?:/backup\.manifest|')")
_MANIFEST = re.compile(r"is missing or unusable|^manifest missing|may not be recoverable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """An object that is not as it was written. `path` is below the stanza."""

    what: str
    path: str

    @property
    def segment(self) -> str | None:
        """The segment of the log that it holds; none: it is part of a copy."""
        name = self.path.rpartition("/")[2]
        return name[:LENGTH] if re.fullmatch(r"[0-9A-F]{24}(?:-.*)?", name) else None

    @property
    def label(self) -> str:
        """The copy that it is part of."""
        return self.path.partition("/")[0]


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything a verify said. `remarks`: about a copy, or about all when the label is none."""

    copies: dict[str, str] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    bad_segments: dict[str, int] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    remarks: list[tuple[str | None, str]] = field(default_factory=list)

    @property
    def says_why(self) -> bool:
        """Whether anything was found, in whatever copy."""
        bad_copies = any(status != "valid" for status in self.copies.values())
        return bool(self.damage or self.remarks or bad_copies or any(self.bad_segments.values()))

    def findings(self, wanted: ListedCopy, *, until: str | None = None) -> tuple[str, ...]:
        """Return what is wrong with a copy, those it needs, and its log, one a line.

        `until`: a segment that the log must reach.
        """
        labels = [*wanted.copy.needs, wanted.copy.label]
        return tuple(
            dict.fromkeys(
                [
                    *(text for label in labels for text in self._of_copy(label)),
                    *self._of_log(wanted, last=max(wanted.last, until or "")),
                    *(text for label, text in self.remarks if label is None or label in labels),
                ]
            )
        )

    def _of_copy(self, label: str) -> Iterator[str]:
        status = self.copies.get(label)
        if status is None:
            yield f"copy {label} is not in the repository"
        elif status != "valid":
            yield f"copy {label} is {status}"
        for found in self.damage:
            if found.segment is None and found.label == label:
                yield f"{found.path}: {found.what}"

    def _of_log(self, wanted: ListedCopy, *, last: str) -> Iterator[str]:
        found = sorted(self.runs.get(wanted.archive, []), key=lambda run: run.first)
        for gap in gaps(found, first=wanted.first, last=last):
            yield f"the log lacks {gap}"
        damaged = [one for one in self.damage if one.path.startswith(f"{wanted.archive}/")]
        for one in damaged:
            if one.segment and is_needed(one.segment, first=wanted.first):
                yield f"{one.path}: {one.what}"
        unnamed = self.bad_segments.get(wanted.archive, 0) - len(damaged)
        if unnamed > 0:
            yield f"{unnamed} segments of the log are damaged, and verify doesn't say which"


def parse_verify(answer: str, log: str) -> Report:
    """Read what verify wrote to its output, and to its log.

    Raises:
        UnavailableError: the store stopped answering meanwhile, which says nothing of its objects.
    """
    report = Report()
    if not answer.startswith("stanza: "):
        report.remarks.append((None, "verify reported nothing"))
    for line in answer.splitlines():
        _read_answer(report, line)
    _read_log(report, log)
    if "status: error" in answer.splitlines() and not report.says_why:
        report.remarks.append((None, "verify reports an error, and doesn't say which"))
    return report


def _read_answer(report: Report, line: str) -> None:
    if found := _ARCHIVE.fullmatch(line):
        report.bad_segments[found["id"]] = int(found["all"]) - int(found["good"])
    elif found := _COPY.fullmatch(line):
        bad = int(found["all"]) - int(found["good"])
        whole = found["status"] != "valid" or bad == 0
        report.copies[found["label"]] = found["status"] if whole else f"valid but for {bad} files"
    elif line.strip() and not _PLAIN.fullmatch(line):
        report.remarks.append((None, f"verify said what isn't understood: {line.strip()}"))


def _read_log(report: Report, log: str) -> None:
    """Read the messages. One that names no copy may only explain the next, which does."""
    unexplained: list[str] = []
    for message in _messages(log):
        if found := _RUN.fullmatch(message):
            run = Run(first=found["first"], last=found["last"])
            report.runs.setdefault(found["id"], []).append(run)
        elif damage := _damage(message):
            report.damage.append(damage)
        elif found := _OF_COPY.search(message):
            if _MANIFEST.search(message):
                unexplained.clear()
            report.remarks.append((found["label"], f"verify says: {message}"))
        else:
            unexplained.append(message)
    report.remarks += [(None, f"verify says: {message}") for message in unexplained]


def _damage(message: str) -> Damage | None:
    if found := _FILE.fullmatch(message):
        return Damage(what=found["what"], path=found["path"])
    if found := _UNREAD.match(message):
        error = failure_in_words(int(found["code"]), found["why"])
        if error is UnavailableError:
            raise UnavailableError(f"{found['path']} could not be read: {found['why']}")
        return Damage(what=f"unreadable ({found['why']})", path=found["path"])
    return None


def _messages(log: str) -> Iterator[str]:
    """Yield unusual messages' first lines; what follows may be anything, also what it read."""
    for line in log.splitlines():
        begin = _LINE.match(line)
        if begin and not _USUAL.match(message := line[begin.end() :].strip()[:LONGEST]):
            yield message
