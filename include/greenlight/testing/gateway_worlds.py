"""The gateway in a thread of this process, in front of whatever `upstream` is.

Its HTTP server, its application and its connections are the real ones. Who may enter is a table,
limits are counted in memory, records go to a list; tests of Redis, of tokens and of keys put the
real parts in their places.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from prometheus_client import CollectorRegistry
from tokenizers import Tokenizer, models, pre_tokenizers

from greenlight.adapters.event_loop import loop_factory
from greenlight.adapters.gateway_metrics import GatewayMetrics
from greenlight.adapters.upstream import Upstream
from greenlight.core.clock import SystemClock
from greenlight.core.errors import UnavailableError
from greenlight.core.traces import Tracer, Untraced
from greenlight.core.types import JsonDict
from greenlight.entrypoints.gateway.app import Application
from greenlight.entrypoints.gateway.parts import Parts
from greenlight.entrypoints.gateway.serving import ServedModels
from greenlight.entrypoints.gateway.spend_caps import SpendCaps
from greenlight.gateway.gateway_file import GatewayFile
from greenlight.gateway.principals import KNOWN_SCOPES, CredentialKind, Principal
from greenlight.gateway.refusals import Refusal
from greenlight.testing.memory_gateway import MemoryAudit, MemorySpendCaps

if TYPE_CHECKING:
    from greenlight.deploy.ports import JournalStore
    from greenlight.entrypoints.gateway.answers import Answers
    from greenlight.gateway.ports import LimitStore
    from greenlight.gateway.stores import SpendCapStore

MODEL = "simulated"
TENANT = "acme"
KEY = "key-of-acme"
START_S = 30.0
TEMPLATE = (
    "{% for m in messages %}<s> {{ m.role }} {{ m.content }} </s> {% endfor %}"
    "{% if add_generation_prompt %}<s> assistant{% endif %}"
)


def write_tokenizer(folder: Path) -> Path:
    """Write a tokenizer that counts words, with a template, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    return folder


def gateway_file(url: str, tokenizer: Path, **changes: object) -> GatewayFile:
    """Return a file with one model and one tenant, without limits and without a cache."""
    return GatewayFile.model_validate(
        {
            "models": [
                {"name": MODEL, "upstream": url, "context": 2048, "tokenizer": str(tokenizer)}
            ],
            "tenants": [{"name": TENANT}],
            "cache": {"enabled": False},
            **changes,
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAuthenticator:
    """Lets in who is in a table."""

    principals: Mapping[str, Principal]

    async def authenticate(self, bearer: str) -> Principal | Refusal:
        """Return who has the credential."""
        return self.principals.get(bearer) or Refusal(
            status=401, code="invalid_credential", message="this key is not known"
        )


@dataclass(slots=True)
class ListTrail:
    """Keeps records in memory."""

    records: list[tuple[str, JsonDict]] = field(default_factory=list)

    def record(self, event: str, detail: JsonDict) -> None:
        """Keep one."""
        self.records.append((event, detail))


def principal(
    *, subject: str = "k1", tenant: str = TENANT, scopes: Sequence[str] = tuple(KNOWN_SCOPES)
) -> Principal:
    """Return somebody with a key."""
    return Principal(
        kind=CredentialKind.API_KEY, subject=subject, tenant=tenant, scopes=frozenset(scopes)
    )


class GatewayWorld:
    """One worker. `url` once it is entered."""

    def __init__(
        self,
        file: GatewayFile,
        *,
        limits: LimitStore,
        principals: Mapping[str, Principal] | None = None,
        journal: JournalStore | None = None,
        answers: Answers | None = None,
        tracer: Tracer | None = None,
        caps: SpendCapStore | None = None,
    ) -> None:
        self.file, self.trail, self.url = file, ListTrail(), ""
        self.metrics = GatewayMetrics(
            tenants=file.metrics_tenants,
            registry=CollectorRegistry(),
        )
        self._limits, self._journal, self._answers = limits, journal, answers
        self._tracer = tracer or Untraced()
        self._caps = caps or MemorySpendCaps(MemoryAudit())
        self._principals = {KEY: principal()} if principals is None else principals
        self._listener = socket.socket()
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    @property
    def records(self) -> list[JsonDict]:
        """What the audit log was told of completions."""
        return [detail for event, detail in self.trail.records if event == "request.completion"]

    def metric(self, name: str, **labels: str) -> float | None:
        """Return a metric's value."""
        return self.counted().get_sample_value(name, labels)

    def counted(self) -> CollectorRegistry:
        """Return the metrics with everything that has happened."""
        flushed = threading.Event()

        def flush() -> None:
            self.metrics.flush()
            flushed.set()

        assert self._loop is not None
        self._loop.call_soon_threadsafe(flush)
        flushed.wait(START_S)
        return self.metrics.registry

    def __enter__(self) -> GatewayWorld:
        """Serve."""
        self._listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread.start()
        if not self._started.wait(START_S):
            raise UnavailableError(f"the gateway did not start within {START_S:g} s")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, once open answers have ended."""
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(START_S)
        self._listener.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        upstreams = {
            model.name: Upstream(model.upstream, self.file.upstream) for model in self.file.models
        }
        served = ServedModels(
            {model.name: model for model in self.file.models},
            journal=self._journal,
            folder_of=Path,
        )
        await served.refresh()
        caps = SpendCaps(self._caps, clock=SystemClock())
        await caps.refresh()
        application = Application(
            Parts(
                file=self.file,
                authenticator=TableAuthenticator(principals=self._principals),
                limits=self._limits,
                caps=caps,
                answers=self._answers,
                upstreams=upstreams,
                served=served,
                trail=self.trail,
                metrics=self.metrics,
                tracer=self._tracer,
                clock=SystemClock(),
            )
        )
        config = uvicorn.Config(
            application, http="httptools", lifespan="off", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=10,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        freshening = asyncio.ensure_future(served.keep_fresh())
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._listener]))
        while not (self._server.started or serving.done()):
            await asyncio.sleep(0.01)
        self._started.set()
        await serving
        freshening.cancel()
        await application.drain()
        for upstream in upstreams.values():
            await upstream.close()


@contextmanager
def simulated_gateway(
    url: str, folder: Path, *, limits: LimitStore, **changes: object
) -> Iterator[GatewayWorld]:
    """Yield a gateway in front of one address, with `gateway.yaml`'s changes."""
    file = gateway_file(url, write_tokenizer(folder / "tokenizer"), **changes)
    with GatewayWorld(file, limits=limits) as world:
        yield world
