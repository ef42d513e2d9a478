"""What is recorded of a model, and what a restored one is compared with, without a model."""

import shutil

import pytest

from greenlight.core.digest import manifest_of
from greenlight.core.errors import ConfigError, InputError, ProcessDiedError
from greenlight.core.settings import Settings
from greenlight.entrypoints.recorded_tokens import NEW_TOKENS, PROMPT, compare, record
from greenlight.quantize.jobs import Job
from greenlight.testing.fake_jobs import FakeJobs
from greenlight.testing.model_folders import write_llama


class World:
    """A machine with one version, a restored copy of it, and a fake ML environment."""

    def __init__(self, tmp_path):
        self.settings = Settings(home=tmp_path / "home")
        self.folder, self.restored = tmp_path / "model", tmp_path / "restored"
        write_llama(self.folder)
        shutil.copytree(self.folder, self.restored)
        self.jobs = FakeJobs()

    def record(self):
        return record(
            self.settings,
            model="m",
            version=3,
            digest=manifest_of(self.folder).digest,
            folder=self.folder,
            runner=self.jobs,
        )

    def compare(self, recorded):
        return compare(self.settings, recorded, self.restored, runner=self.jobs)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def change_one_byte(folder):
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_a_restored_copy_says_what_was_recorded(world):
    recorded = world.record()
    assert (recorded.model, recorded.version, recorded.prompt) == ("m", 3, PROMPT)
    assert len(recorded.tokens) == NEW_TOKENS
    assert recorded.text
    assert world.compare(recorded) is None


def test_a_model_that_says_something_else_is_told_of_with_both_answers(world):
    recorded = world.record()
    change_one_byte(world.restored)
    reason = world.compare(recorded)
    assert "m version 3" in reason
    assert recorded.text in reason
    assert str(list(recorded.tokens)) in reason
    assert reason.count("tokens [") == 2


def test_the_same_digest_is_asked_once_and_a_restored_model_every_time(world):
    first = world.record()
    assert world.record() == first
    assert world.jobs.asked == [Job.GENERATE]
    world.compare(first)
    world.compare(first)
    assert world.jobs.asked == [Job.GENERATE] * 3


def test_a_restored_model_is_asked_what_was_asked_then_whatever_is_asked_now(world):
    recorded = world.record()
    older = recorded.model_copy(update={"prompt": "Another prompt", "tokens": (1, 2, 3)})
    reason = world.compare(older)
    assert "'Another prompt'" in reason
    assert reason.rpartition("(tokens ")[2].count(",") == 2


def test_a_folder_of_another_digest_is_not_recorded(world):
    digest = manifest_of(world.folder).digest
    change_one_byte(world.folder)
    with pytest.raises(InputError, match=digest[:12]):
        record(
            world.settings, model="m", version=3, digest=digest, folder=world.folder,
            runner=world.jobs,
        )  # fmt: skip
    assert world.jobs.asked == []


def test_an_answer_that_never_came_is_not_kept(world):
    world.jobs.errors[Job.GENERATE] = ProcessDiedError("killed")
    with pytest.raises(ProcessDiedError):
        world.record()
    assert world.compare(world.record()) is None


def test_a_record_without_tokens_proves_nothing(world):
    recorded = world.record().model_copy(update={"tokens": ()})
    with pytest.raises(InputError, match="nothing to compare"):
        world.compare(recorded)


def test_a_folder_that_does_not_load_is_not_another_answer(world):
    recorded = world.record()
    world.jobs.errors[Job.GENERATE] = InputError("no weights")
    with pytest.raises(InputError, match="no weights"):
        world.compare(recorded)


def test_without_the_ml_environment_the_way_to_it_is_named(world, tmp_path):
    recorded = world.record()
    settings = world.settings.model_copy(update={"ml_python": tmp_path / "nowhere"})
    with pytest.raises(ConfigError, match="scripts/setup ml"):
        compare(settings, recorded, world.restored)
