"""Look at the audit log, prove it, forget somebody in it, let retention delete its beginning."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import GateError, InputError
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict
from greenlight.entrypoints.gateway_access import AUDIT, load, open_stores, operator, spool_folder
from greenlight.gateway.audit import Anchor, AuditEvent, EventName, Record
from greenlight.gateway.audit_check import Verdict, Verification, verify
from greenlight.gateway.gateway_file import load_gateway_file
from greenlight.gateway.stores import AuditStore, Named

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What became of a check, and where the log says of itself that it was set back."""

    verification: Verification
    set_back: tuple[int, ...]

    def to_json(self) -> JsonDict:
        """Return it for `--json` and the evidence pack."""
        return self.verification.to_json() | {"set_back": list(self.set_back)}


class AuditLog:
    """The commands' view of the log. `by`: who gives them; `folder`: where the witness is."""

    def __init__(
        self,
        *,
        store: AuditStore,
        secret: str,
        folder: Path,
        by: str,
        clock: Clock | None = None,
    ) -> None:
        self._store, self._secret, self._folder, self._by = store, secret, folder, by
        self.clock = clock or SystemClock()

    def verify(self) -> Checked:
        """Check every record, and the end against what this machine saw.

        Raises:
            InputError: the witness is no anchor: somebody wrote to it.
        """
        witnesses = self._witnesses()  # first: the log only grows afterwards
        with self._store.snapshot() as log_now:
            found = verify(
                log_now.records,
                head=log_now.head,
                pruned=log_now.pruned,
                secret=self._secret,
                witnesses=witnesses,
            )
        set_back = self._store.find(event=EventName.SET_BACK)
        return Checked(verification=found, set_back=tuple(one.record.number for one in set_back))

    def find(
        self,
        *,
        limit: int | None = None,
        event: str | None = None,
        subject: str | None = None,
        tenant: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[JsonDict]:
        """Return records with who their alias is, oldest first."""
        found = self._store.find(
            limit=limit, event=event, subject=subject, tenant=tenant, since=since, until=until
        )
        return [shown(one) for one in found]

    def erase(self, subject: str) -> str:
        """Forget who a subject is, and return the alias that stays in its records.

        Raises:
            InputError: nobody is called that.
        """
        event = self._event(EventName.ERASED, {})
        alias = self._store.erase(subject, event=event)
        if alias is None:
            raise InputError(f"the audit log names nobody {subject!r}; see `greenlight audit list`")
        log.info("the audit log no longer says who %s is", alias)
        return alias

    def prunable(self, *, keep_days: int) -> Record | None:
        """Return the last record that retention lets go, or nothing."""
        return self._store.prunable(self.clock.now() - timedelta(days=keep_days))

    def prune(self, through: Record) -> int:
        """Delete from the oldest record up to this one, and return how many.

        Raises:
            GateError: the log is not what was written; nothing of the proof is deleted.
        """
        checked = self.verify().verification
        if checked.verdict is not Verdict.PASS:
            raise GateError(
                f"the audit log is not proven ({checked.finding or checked.verdict}), so nothing "
                "of it is deleted; `greenlight audit verify` says more"
            )
        return self._store.prune(through, event=self._event(EventName.PRUNED, {}))

    def tell(self, name: EventName, detail: JsonDict) -> None:
        """Chain what somebody did with the log."""
        self._store.append([self._event(name, detail)])

    def _event(self, name: EventName, detail: JsonDict) -> AuditEvent:
        now = self.clock.now()
        return AuditEvent(at=now, event=name, subject=operator(self._by), detail=detail)

    def _witnesses(self) -> Sequence[Anchor]:
        from greenlight.adapters.audit_spool import read_witness

        witness = read_witness(self._folder)
        return [witness] if witness else []


def shown(one: Named) -> JsonDict:
    """Return a record with who its alias is; `subject` is the alias once that is erased."""
    record = one.record.to_json() | {"alias": one.record.subject, "identity": one.identity}
    return record | {"subject": one.subject or one.record.subject}


def keep_days(settings: Settings) -> int:
    """Return for how long gateway.yaml keeps records.

    Raises:
        ConfigError: it is wrong.
    """
    return load_gateway_file(settings.config_file("gateway")).audit.keep_days


def open_log(settings: Settings, *, by: str) -> AuditLog:
    """Return the log of the configured database.

    Raises:
        ConfigError: the secret is missing.
        RefusedError: no database is configured, and the stack is not up.
    """
    _, store = open_stores(settings)
    return AuditLog(store=store, secret=load(settings, AUDIT), folder=spool_folder(settings), by=by)
