"""What is known about one completion, from its first byte to its record in the audit log."""

from __future__ import annotations

from dataclasses import dataclass

from greenlight.core.traces import Fact
from greenlight.core.types import JsonDict
from greenlight.gateway.gateway_file import ServedModel
from greenlight.gateway.limits import Charge, Reservation
from greenlight.gateway.principals import Principal, Route
from greenlight.gateway.refusals import Refusal
from greenlight.gateway.stream_meter import Usage
from greenlight.gateway.validation import Checked, Room

NO_COLOUR = "unknown"
"""The label of an answer whose router says no colour."""
SERVER_ERROR = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A request that everybody agreed to."""

    principal: Principal
    model: ServedModel
    checked: Checked
    room: Room
    reservation: Reservation | None
    """None: the limits could not be counted, and the deployment chose to serve all the same."""


@dataclass(slots=True, kw_only=True)
class Call:
    """One completion. `used`: what the engine says; None: it hasn't said."""

    route: Route
    principal: Principal | None = None
    admitted: Admitted | None = None
    refusal: Refusal | None = None
    colour: str = NO_COLOUR
    cache: str = "none"
    asked_engine: bool = False
    used: Usage | None = None
    events: int = 0
    """Pieces of a stream that came: as a rule one token each."""
    failed: bool = False
    """The engine refused or failed before it began to answer."""
    cut: str | None = None
    """Who broke the answer off: `client` or `engine`."""

    def charge(self, admitted: Admitted) -> Charge:
        """Return what it costs.

        An answer from the cache and a failure cost nothing. A stream that was cut costs what came
        of it; an answer in one piece that nobody waited for costs all that was reserved, since
        nobody knows how far the engine got.
        """
        if not self.asked_engine or self.failed:
            return Charge(tokens=0)
        if self.used is not None:
            used = self.used
        elif admitted.checked.streams:
            used = Usage(prompt=admitted.room.prompt, answer=self.events)
        else:
            return admitted.model.charge(
                prompt=admitted.room.prompt, answer=admitted.room.answer * admitted.room.answers
            )
        return admitted.model.charge(prompt=used.prompt, answer=used.answer)

    def facts(self, *, path: str, status: int) -> dict[str, Fact]:
        """Return it for a span, by OpenTelemetry's names where there are any; never a text."""
        found: dict[str, Fact] = {
            "http.request.method": "POST",
            "http.route": path,
            "http.response.status_code": status,
            "greenlight.cache": self.cache,
        }
        if self.principal is not None:
            found["greenlight.tenant"] = self.principal.tenant
        if self.admitted is not None:
            found["gen_ai.request.model"] = self.admitted.model.name
        if self.asked_engine:
            found["greenlight.colour"] = self.colour
        if self.used is not None:
            found["gen_ai.usage.input_tokens"] = self.used.prompt
            found["gen_ai.usage.output_tokens"] = self.used.answer
        if self.cut is not None:
            found["greenlight.cut_by"] = self.cut
        return found

    def failure(self, status: int) -> str | None:
        """Return the code of what went wrong on this side; what a client did wrong is its own."""
        if self.cut == "engine":
            return "stream_cut"
        if status < SERVER_ERROR:
            return None
        return str(status) if self.refusal is None else self.refusal.code

    def record(self, *, request_id: str, trace_id: str, status: int, seconds: float) -> JsonDict:
        """Return it for the audit log: who, what, the decision, the tokens; never a text."""
        found: JsonDict = {
            "request_id": request_id,
            "trace_id": trace_id,
            "route": str(self.route),
            "status": status,
            "decision": "served" if self.refusal is None else "refused",
            "seconds": round(seconds, 4),
            "cache": self.cache,
        }
        if self.principal is not None:
            found |= {"subject": self.principal.subject, "tenant": self.principal.tenant}
        if self.refusal is not None:
            found["code"] = self.refusal.code
        if self.admitted is not None:
            found |= {"model": self.admitted.model.name, "prompt_tokens": self.admitted.room.prompt}
        if self.asked_engine:
            found["colour"] = self.colour
        if self.used is not None:
            found |= {"prompt_tokens": self.used.prompt, "answer_tokens": self.used.answer}
        if self.cut is not None:
            found |= {"cut_by": self.cut, "pieces": self.events}
        return found
