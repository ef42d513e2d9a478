"""What the firewall blocks of prompts and stops of attacks, beside OWASP's rules as shipped.

Run it with `make bench-waf`; a minute. Every line of a corpus is sent through a real nginx, with
TLS, to an upstream that counts: first with the tuned configuration, then with Debian's own files
(ModSecurity and the Core Rule Set as packaged, engine on, nothing excluded). `WAF_CORPUS=FILE` runs
another corpus: docs/reference/waf.md says what its lines hold.

Blocked, or stopped, is what did not reach the upstream, for whatever reason. An attack's text where
a prompt belongs is no attack on the gateway; it is counted by itself. The last line is one JSON
object.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from greenlight.adapters.nginx.process import Nginx
from greenlight.core.errors import InputError
from greenlight.core.settings import PROJECT
from greenlight.core.types import JsonDict
from greenlight.testing.edge_worlds import (
    EdgeWorld,
    Outcome,
    an_edge,
    run_corpus,
    trusting,
)
from greenlight.testing.waf_corpus import Case, Kind, read_corpus

CORPUS = PROJECT / "tests/waf/corpus.jsonl"
SHIPPED = Path("/etc/nginx/modsecurity.conf")
SETUP = Path("/etc/modsecurity/crs/crs-setup.conf")
SHOWN = 25
"""Cases that went wrong, at most so many of each kind."""
STOCK_NGINX = """
daemon off;
pid nginx.pid;
worker_processes 1;
error_log error.log error;
load_module "{edge.modules}/ngx_http_modsecurity_module.so";
events {{}}
http {{
    access_log off;
    client_max_body_size {edge.body_bytes};
    client_body_buffer_size {edge.body_bytes};
    server {{
        listen {edge.address}:{edge.port} ssl;
        ssl_certificate "{edge.certificate}";
        ssl_certificate_key "{edge.key}";
        modsecurity on;
        modsecurity_rules_file modsecurity.conf;
        location / {{ proxy_pass http://127.0.0.1:{edge.upstream_port}; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A corpus that was sent through one configuration."""

    outcomes: Sequence[Outcome]
    cpu_ms: float
    """Of nginx, per request."""

    def held(self, kind: Kind, category: str | None = None) -> list[Outcome]:
        """Return the cases of a kind that did not reach the upstream."""
        return [one for one in self.of(kind, category) if not one.reached]

    def of(self, kind: Kind, category: str | None = None) -> list[Outcome]:
        """Return the cases of a kind; attacks in prompts aside."""
        return [
            one
            for one in self.outcomes
            if one.case.kind == kind
            and category in (None, one.case.category)
            and not (kind == Kind.ATTACK and one.case.is_prompt)
        ]

    def percent(self, kind: Kind) -> float | None:
        """Return the share that was held, of nothing none."""
        found = self.of(kind)
        return round(100 * len(self.held(kind)) / len(found), 2) if found else None


class StockNginx(Nginx):
    """The same nginx with Debian's files, changed only where the packages' README says so."""

    def prepare(self) -> None:
        """Write them."""
        self._folder.mkdir(parents=True)
        edge = self._edge
        rules = (
            SHIPPED.read_text()
            .replace("SecRuleEngine DetectionOnly", "SecRuleEngine On")
            .replace("SecAuditEngine RelevantOnly", "SecAuditEngine Off")
            .replace("unicode.mapping", str(edge.unicode_map))
        )
        (self._folder / "nginx.conf").write_text(STOCK_NGINX.format(edge=edge))
        (self._folder / "modsecurity.conf").write_text(
            f"{rules}\nInclude {SETUP}\nInclude {edge.rules}/*.conf\n"
        )


def main() -> None:
    """Run both, print the tables, and end with one JSON object."""
    path = Path(os.environ.get("WAF_CORPUS") or CORPUS)
    try:
        cases = read_corpus(path)
    except (InputError, OSError) as error:
        sys.exit(f"bench-waf: {error}")
    print(f"{len(cases)} cases of {path.name}")
    with tempfile.TemporaryDirectory(prefix="greenlight-waf-") as folder:
        with an_edge(Path(folder) / "tuned") as world:
            tuned = run(cases, world)
        with an_edge(Path(folder) / "stock", kind=StockNginx) as world:
            stock = run(cases, world)
    for kind, word in ((Kind.BENIGN, "blocked"), (Kind.ATTACK, "stopped")):
        print_table(kind, word, tuned, stock)
    print_misses(tuned)
    print(f"\nnginx: {tuned.cpu_ms:.1f} ms of CPU a request, stock {stock.cpu_ms:.1f} ms")
    print(json.dumps(summary(cases, tuned, stock)))


def run(cases: Sequence[Case], world: EdgeWorld) -> Run:
    """Send all cases."""
    before = cpu_s(world)
    outcomes = run_corpus(
        cases, port=world.edge.port, upstream=world.upstream, context=trusting(world.certificates)
    )
    return Run(outcomes=outcomes, cpu_ms=1000 * (cpu_s(world) - before) / len(cases))


def cpu_s(world: EdgeWorld) -> float:
    """Return the processor time of all workers."""
    workers = psutil.Process(world.nginx.pid()).children()
    return sum(times.user + times.system for times in (w.cpu_times() for w in workers))


def print_table(kind: Kind, word: str, tuned: Run, stock: Run) -> None:
    """Print what became of each category."""
    print(f"\n{kind}{'':<18} n | {word:>8}  stock")
    for category in sorted({one.case.category for one in tuned.of(kind)}):
        counts = [len(one.held(kind, category)) for one in (tuned, stock)]
        print(f"{category:<20} {len(tuned.of(kind, category)):5} | {counts[0]:8} {counts[1]:6}")
    print(f"{'all':<20} {len(tuned.of(kind)):5} | "
          f"{len(tuned.held(kind)):8} {len(stock.held(kind)):6}")  # fmt: skip


def print_misses(tuned: Run) -> None:
    """Print what the tuned configuration got wrong."""
    blocked = tuned.held(Kind.BENIGN)
    passed = [one for one in tuned.of(Kind.ATTACK) if one.reached]
    for title, wrong in (("benign, and blocked", blocked), ("attacks that passed", passed)):
        print(f"\n{title}: {len(wrong)}")
        for one in wrong[:SHOWN]:
            case = one.case
            print(f"  line {case.line}, {case.where} ({one.status}): {case.text[:90]!r}")


def summary(cases: Sequence[Case], tuned: Run, stock: Run) -> JsonDict:
    """Return the last line."""
    attacks = [case for case in cases if case.kind == Kind.ATTACK]
    return {
        "benign_blocked_pct": tuned.percent(Kind.BENIGN),
        "attacks_stopped_pct": tuned.percent(Kind.ATTACK),
        "n_benign": len(tuned.of(Kind.BENIGN)),
        "n_attacks": len(tuned.of(Kind.ATTACK)),
        "stock_benign_blocked_pct": stock.percent(Kind.BENIGN),
        "stock_attacks_stopped_pct": stock.percent(Kind.ATTACK),
        "attack_texts_in_prompts": sum(case.is_prompt for case in attacks),
        "cpu_ms": round(tuned.cpu_ms, 1),
        "stock_cpu_ms": round(stock.cpu_ms, 1),
    }


if __name__ == "__main__":
    main()
