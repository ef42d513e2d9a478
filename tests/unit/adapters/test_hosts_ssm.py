"""A host over SSM. No test server of SSM executes anything, so `Instance` stands in: it takes the
calls of boto3's client and runs their commands here, in a shell, as the agent of SSM would. The
bucket is a real HTTP server (moto's S3), with real presigned addresses."""

import hashlib
import os
import subprocess

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from moto.server import ThreadedMotoServer

from greenlight.adapters.hosts.agent.ground import CHUNK
from greenlight.adapters.hosts.runner import AgentHost
from greenlight.adapters.hosts.ssm import LONGEST_OUTPUT, SsmTransport
from greenlight.core.digest import FileEntry
from greenlight.core.errors import ConfigError, ResourceError, UnavailableError
from greenlight.deploy.engines import EngineProfile
from greenlight.deploy.fleet import Slots, SsmAccess
from greenlight.deploy.ports import EngineState
from greenlight.testing.host_contract import GREEN, WEIGHTS, a_model, settled
from greenlight.testing.servers import free_port

BUCKET = "models"
ACCESS = SsmAccess(instance_id="i-0123456789abcdef0", bucket=BUCKET)


class Instance:
    """An SSM client whose only instance is this machine.

    `statuses`: what is answered before the command's own result. `error`: raised by every call.
    """

    def __init__(self, *, statuses: tuple[str, ...] = (), error: Exception | None = None) -> None:
        self.lines, self.cancelled = [], []
        self._statuses, self._error = list(statuses), error

    def send_command(self, *, InstanceIds, DocumentName, Parameters, TimeoutSeconds):
        if self._error:
            raise self._error
        assert InstanceIds == [ACCESS.instance_id]
        assert DocumentName == "AWS-RunShellScript"
        assert TimeoutSeconds >= 30  # SSM takes no less
        (line,) = Parameters["commands"]
        self.lines.append(line)
        self._done = subprocess.run(
            line, shell=True, capture_output=True, text=True, check=False, timeout=60
        )
        return {"Command": {"CommandId": "c-1"}}

    def get_command_invocation(self, *, CommandId, InstanceId):
        if self._statuses:
            status = self._statuses.pop(0)
            if status == "unknown":
                raise refused("InvocationDoesNotExist")
            return {"Status": status}
        return {
            "Status": "Success" if self._done.returncode == 0 else "Failed",
            "ResponseCode": self._done.returncode,
            "StandardOutputContent": self._done.stdout[:LONGEST_OUTPUT],
            "StandardErrorContent": self._done.stderr,
        }

    def cancel_command(self, *, CommandId):
        self.cancelled.append(CommandId)


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "SendCommand")


@pytest.fixture(scope="module")
def s3():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{address}:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    server.stop()


def transport(instance: Instance, s3=None, **clock) -> SsmTransport:
    return SsmTransport(ACCESS, ssm=instance, s3=s3, poll_s=0, **clock)


@pytest.fixture
def instance():
    return Instance(statuses=("unknown", "Pending", "InProgress"))


@pytest.fixture
def host(instance, s3, tmp_path):
    slots = {colour: {"port": free_port()} for colour in ("blue", "green")}
    profile = EngineProfile(kind="simulator", drain_s=1, shutdown_s=1)
    host = AgentHost(
        "there",
        transport(instance, s3),
        profile,
        root=tmp_path / "host",
        address="127.0.0.1",
        slots=Slots.model_validate(slots),
        python=os.sys.executable,
        keep_models=3,
    )
    yield host
    host.stop(GREEN)


def test_a_model_comes_through_the_bucket_and_is_served(host, s3, tmp_path):
    model = a_model(tmp_path)
    told = []
    host.put_model(model, on_bytes=lambda done, total: told.append((done, total)))
    assert told[-1] == (model.manifest.total_bytes, model.manifest.total_bytes)
    kept = {entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert {f"greenlight/models/{file.sha256}" for file in model.manifest.files} <= kept
    host.start(GREEN, model=model)
    assert settled(host, GREEN).state is EngineState.READY


def test_what_is_in_the_bucket_is_not_uploaded_again(host, s3, tmp_path, monkeypatch):
    model = a_model(tmp_path, weights=b"shared")
    host.put_model(model)
    (tmp_path / "host/models" / f"{model.manifest.digest}.json").unlink()
    monkeypatch.setattr(s3, "upload_file", lambda *_: pytest.fail("uploaded again"))
    host.put_model(model)
    assert host.has_model(model.manifest.digest)


def test_a_download_goes_on_where_it_was(host, s3, tmp_path):
    model = a_model(tmp_path, weights=b"abcd" * CHUNK)
    data = (model.path / WEIGHTS).read_bytes()
    incoming = tmp_path / "host/incoming" / model.manifest.digest / WEIGHTS
    incoming.parent.mkdir(parents=True)
    incoming.write_bytes(data[: 2 * CHUNK + 1])
    host.put_model(model)
    assert host.has_model(model.manifest.digest)
    found = tmp_path / "host/models" / model.manifest.digest / WEIGHTS
    assert hashlib.sha256(found.read_bytes()).hexdigest() == hashlib.sha256(data).hexdigest()


def test_a_download_asks_only_for_what_is_missing(s3, tmp_path):
    s3.put_object(Bucket=BUCKET, Key=f"greenlight/models/{'a' * 64}", Body=b"0123456789")
    target = tmp_path / "target"
    target.write_bytes(b"abcdeXXXXXXXX")
    (tmp_path / "source").write_bytes(b"0123456789")
    transport(Instance(), s3).upload(
        tmp_path / "source",
        str(target),
        entry=FileEntry(path="f", size=10, sha256="a" * 64),
        offset=5,
        on_bytes=lambda _: None,
    )
    assert target.read_bytes() == b"abcde56789"


@pytest.mark.parametrize("nasty", ["; touch {made}", "$(touch {made})", "`touch {made}`", "'\"\n"])
def test_no_argument_ever_reaches_the_shell(nasty, tmp_path):
    made = tmp_path / "made"
    word, instance = nasty.format(made=made), Instance()
    done = transport(instance).run(["printf", "%s", word], stdin=word.encode(), timeout_s=10)
    assert done.stdout.decode() == word
    assert not made.exists()
    assert str(made) not in instance.lines[0]


def test_exit_code_and_errors_come_back():
    done = transport(Instance()).run(
        ["sh", "-c", "cat; echo bad >&2; exit 3"], stdin=b"in", timeout_s=10
    )
    assert (done.code, done.stdout, done.stderr) == (3, b"in", b"bad\n")


@pytest.mark.parametrize("status", ["TimedOut", "Undeliverable", "Cancelled"])
def test_a_command_that_did_not_arrive_says_that_the_host_is_unavailable(status):
    with pytest.raises(UnavailableError, match=status):
        transport(Instance(statuses=(status,))).run(["true"], stdin=b"", timeout_s=10)


def test_a_command_that_never_ends_is_cancelled_in_bounded_time():
    instance = Instance(statuses=("InProgress",) * 1000)
    now = iter(range(0, 100_000, 10))
    link = transport(instance, monotonic=lambda: next(now), sleep=lambda _: None)
    with pytest.raises(UnavailableError, match="within 10 s"):
        link.run(["true"], stdin=b"", timeout_s=10)
    assert instance.cancelled == ["c-1"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NoCredentialsError(), ConfigError),
        (refused("AccessDeniedException"), ConfigError),
        (refused("InvalidInstanceId"), UnavailableError),  # its agent does not report
        (refused("ThrottlingException"), UnavailableError),
        (EndpointConnectionError(endpoint_url="https://ssm"), UnavailableError),
    ],
)
def test_what_aws_says_becomes_what_to_do(error, kind):
    with pytest.raises(kind):
        transport(Instance(error=error)).run(["true"], stdin=b"", timeout_s=10)


def test_an_answer_that_ssm_cut_off_is_not_taken_for_one():
    with pytest.raises(ResourceError, match="longer than SSM returns"):
        transport(Instance()).run(
            ["head", "-c", str(LONGEST_OUTPUT + 1), "/dev/zero"], stdin=b"", timeout_s=10
        )


def test_a_request_longer_than_ssm_takes_is_refused_before_it_is_sent():
    instance = Instance()
    with pytest.raises(ResourceError, match="longer than SSM takes"):
        transport(instance).run(["true"], stdin=os.urandom(60_000).hex().encode(), timeout_s=10)
    assert instance.lines == []
