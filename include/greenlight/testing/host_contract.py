"""What every `HostRunner` must do: subclass it and give it a fixture `bench`.

A bench is one empty host; every test gets a new one.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from greenlight.core.digest import FileEntry, Manifest, manifest_of
from greenlight.core.errors import InputError, RefusedError, ResourceError
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import EngineState, EngineStatus, HostRunner, ModelFolder
from greenlight.testing.memory_hosts import EngineFault

BLUE, GREEN = Colour
READY_S = 30.0
NAME = "assistant"
WEIGHTS = "weights/model-1"
KEPT = 3
"""Models that a bench's host keeps."""


class HostBench(Protocol):
    """A host, and the hands of a test on it."""

    def host(self, fault: EngineFault | None = None) -> HostRunner:
        """Return the host; engines it starts have the fault. `keep_models` is `KEPT`."""

    def damage(self, digest: str, path: str) -> None:
        """Change one byte of a model's file, as a disk might."""

    def crash(self, colour: Colour) -> None:
        """End a slot's engine without a goodbye."""


def a_model(root: Path, *, weights: bytes = b"weights") -> ModelFolder:
    """Make a small folder with a file in a sub-folder and an empty file."""
    folder = root / f"model-{weights[:20].decode()}"
    (folder / "weights").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "empty").write_bytes(b"")
    (folder / WEIGHTS).write_bytes(weights)
    return ModelFolder(name=NAME, path=folder, manifest=manifest_of(folder))


def bytes_told(host: HostRunner, model: ModelFolder) -> list[tuple[int, int]]:
    """Put a model and return what was told on the way."""
    told: list[tuple[int, int]] = []
    host.put_model(model, on_bytes=lambda done, total: told.append((done, total)))
    return told


def settled(host: HostRunner, colour: Colour) -> EngineStatus:
    """Return a slot's status once it is not "starting" any more."""
    deadline = time.monotonic() + READY_S
    while (status := host.status(colour)).state is EngineState.STARTING:
        assert time.monotonic() < deadline, f"still starting: {host.logs(colour)}"
        time.sleep(0.1)
    return status


class HostContract:
    """The suite."""

    @pytest.fixture
    def model(self, tmp_path: Path) -> ModelFolder:
        """Return a model folder."""
        return a_model(tmp_path)

    def test_an_empty_host_answers_and_holds_nothing(
        self, bench: HostBench, model: ModelFolder
    ) -> None:
        """No models, no engines, no logs; stopping what does not run is fine."""
        host = bench.host()
        host.ping()
        host.stop(BLUE)
        assert not host.has_model(model.manifest.digest)
        assert [host.status(colour).state for colour in Colour] == [EngineState.STOPPED] * 2
        assert host.logs(BLUE) == ""
        assert host.prune(keep=[]) == ()

    def test_a_host_says_what_it_is(self, bench: HostBench) -> None:
        """Its disk and its clock; nobody listens on ports that nothing was started on."""
        facts = bench.host().describe()
        assert facts.python.startswith("3.")
        assert 0 < facts.disk_free <= facts.disk_total
        assert abs(facts.clock_ahead_s) <= facts.clock_within_s + 1
        assert facts.taken == {}

    def test_a_model_is_there_once_it_was_put(self, bench: HostBench, model: ModelFolder) -> None:
        """Twice is fine, and the bytes are counted to their end both times."""
        host, total = bench.host(), model.manifest.total_bytes
        for told in (bytes_told(host, model), bytes_told(host, model)):
            assert told[-1] == (total, total)
            assert told == sorted(told)
        assert host.has_model(model.manifest.digest)

    def test_a_changed_source_is_not_used(self, bench: HostBench, model: ModelFolder) -> None:
        """What arrives is compared with the manifest, and the bad file is named."""
        host = bench.host()
        (model.path / WEIGHTS).write_bytes(b"WEIGHTS")
        with pytest.raises(InputError, match=WEIGHTS):
            host.put_model(model)
        assert not host.has_model(model.manifest.digest)
        (model.path / WEIGHTS).write_bytes(b"weights")
        host.put_model(model)
        assert host.has_model(model.manifest.digest)

    def test_a_byte_that_changed_on_the_host_is_found(
        self, bench: HostBench, model: ModelFolder
    ) -> None:
        """The model is not used; putting it again heals it."""
        host = bench.host()
        host.put_model(model)
        bench.damage(model.manifest.digest, WEIGHTS)
        with pytest.raises(InputError, match=WEIGHTS):
            host.put_model(model)
        assert not host.has_model(model.manifest.digest)
        with pytest.raises(InputError):
            host.start(GREEN, model=model)
        assert host.status(GREEN).state is EngineState.STOPPED
        host.put_model(model)
        assert host.has_model(model.manifest.digest)

    def test_a_model_larger_than_the_disk_is_refused_before_it_is_copied(
        self, bench: HostBench, model: ModelFolder
    ) -> None:
        """The message says how much is needed."""
        huge = FileEntry(path=WEIGHTS, size=2**60, sha256="a" * 64)
        too_big = replace(model, manifest=Manifest(files=(huge,)))
        with pytest.raises(ResourceError):
            bench.host().put_model(too_big)

    def test_an_engine_serves_the_model_it_was_started_with(
        self, bench: HostBench, model: ModelFolder
    ) -> None:
        """Its digest is read back from the engine itself; the other slot stays empty."""
        host = bench.host()
        host.put_model(model)
        host.start(GREEN, model=model)
        status = settled(host, GREEN)
        assert status.state is EngineState.READY, status
        assert status.digest == status.served_digest == model.manifest.digest
        assert status.flags_digest
        assert host.status(BLUE).state is EngineState.STOPPED
        assert host.logs(GREEN, lines=5)

    def test_a_model_that_is_not_there_is_not_started(
        self, bench: HostBench, model: ModelFolder
    ) -> None:
        """Copy it first."""
        host = bench.host()
        with pytest.raises(InputError):
            host.start(GREEN, model=model)
        assert host.status(GREEN).state is EngineState.STOPPED

    def test_both_colours_run_side_by_side_and_nothing_replaces_a_running_engine(
        self, bench: HostBench, model: ModelFolder, tmp_path: Path
    ) -> None:
        """The same model again changes nothing, another one is refused, until the slot is free."""
        host, other = bench.host(), a_model(tmp_path, weights=b"other")
        for one, colour in ((model, BLUE), (other, GREEN)):
            host.put_model(one)
            host.start(colour, model=one)
        assert settled(host, BLUE).served_digest == model.manifest.digest
        assert settled(host, GREEN).served_digest == other.manifest.digest
        host.start(BLUE, model=model)
        assert host.status(BLUE).state is EngineState.READY
        with pytest.raises(RefusedError):
            host.start(BLUE, model=other)
        assert host.status(BLUE).served_digest == model.manifest.digest
        host.stop(BLUE)
        host.stop(BLUE)
        assert host.status(BLUE).state is EngineState.STOPPED
        assert host.status(GREEN).state is EngineState.READY
        host.start(BLUE, model=other)
        assert settled(host, BLUE).served_digest == other.manifest.digest

    def test_an_engine_that_crashed_has_failed_and_can_be_started_again(
        self, bench: HostBench, model: ModelFolder
    ) -> None:
        """The status says why, and which model it was."""
        host = bench.host()
        host.put_model(model)
        host.start(GREEN, model=model)
        settled(host, GREEN)
        bench.crash(GREEN)
        status = host.status(GREEN)
        assert status.state is EngineState.FAILED
        assert status.reason
        assert status.digest == model.manifest.digest
        host.start(GREEN, model=model)
        assert settled(host, GREEN).state is EngineState.READY

    @pytest.mark.parametrize("fault", [EngineFault.DIES, EngineFault.WRONG_DIGEST])
    def test_an_engine_that_dies_or_serves_another_model_has_failed(
        self, bench: HostBench, model: ModelFolder, fault: EngineFault
    ) -> None:
        """It never counts as ready."""
        host = bench.host(fault)
        host.put_model(model)
        host.start(GREEN, model=model)
        status = settled(host, GREEN)
        assert status.state is EngineState.FAILED
        assert status.reason
        assert status.served_digest != model.manifest.digest

    def test_an_engine_that_never_gets_ready_goes_on_starting(
        self, bench: HostBench, model: ModelFolder
    ) -> None:
        """How long that is accepted is the caller's decision; it can be stopped."""
        host = bench.host(EngineFault.NEVER_READY)
        host.put_model(model)
        host.start(GREEN, model=model)
        assert {host.status(GREEN).state for _ in range(3)} == {EngineState.STARTING}
        host.stop(GREEN)
        assert host.status(GREEN).state is EngineState.STOPPED

    def test_pruning_spares_what_is_new_named_or_running(
        self, bench: HostBench, tmp_path: Path
    ) -> None:
        """The oldest of the rest go."""
        host = bench.host()
        models = [a_model(tmp_path, weights=b"%d" % n) for n in range(5)]
        digests = [one.manifest.digest for one in models]
        for one in models:
            host.put_model(one)
        host.start(GREEN, model=models[0])
        assert host.prune(keep=[digests[1]]) == (digests[2], digests[3])
        assert [host.has_model(digest) for digest in digests] == [True, True, False, False, True]
        assert host.prune(keep=[]) == ()
