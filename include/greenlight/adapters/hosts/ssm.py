"""An EC2 instance over AWS Systems Manager: no open port, no key; files go through a bucket."""

from __future__ import annotations

import base64
import gzip
import json
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
from boto3.exceptions import S3UploadFailedError  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    NoCredentialsError,
)

from greenlight.adapters.hosts.agent_call import call
from greenlight.adapters.hosts.transport import Done
from greenlight.core.digest import FileEntry
from greenlight.core.errors import ConfigError, ResourceError, UnavailableError
from greenlight.core.types import JsonDict
from greenlight.deploy.fleet import SsmAccess

DOCUMENT = "AWS-RunShellScript"
UNPACK = (
    "import base64, gzip, json, subprocess, sys; "
    "sent = json.loads(gzip.decompress(base64.b64decode(sys.argv[1]))); "
    "sys.exit(subprocess.run(sent['argv'], input=sent['stdin'].encode()).returncode)"
)
"""Runs on the host. Everything that varies is in its argument, which is base64."""
DELIVERY_S = 60
"""How long the instance may take to fetch a command."""
GRACE_S = 15.0
LONGEST_COMMAND = 60_000
"""Letters. SSM's documents, their parameters included, have at most 64 KB."""
LONGEST_OUTPUT = 24_000
"""Letters. SSM cuts off what is behind."""
LINK_S = 3600
"""How long a presigned address can be opened; a download that has begun goes on."""
BYTES_PER_S = 2_000_000
"""The slowest download that is waited for."""
ENDED = frozenset({"Success", "Failed"})
LOST = frozenset({"Cancelled", "TimedOut", "Cancelling", "Undeliverable", "Terminated"})
NOT_ALLOWED = frozenset(
    {"403", "AccessDenied", "AccessDeniedException", "NoSuchBucket", "UnrecognizedClientException"}
)


class SsmTransport:
    """`transport.Transport` through Run Command and S3.

    A file is kept in the bucket under its hash, so that many hosts share one upload.
    """

    python = "python3"

    def __init__(
        self,
        access: SsmAccess,
        *,
        ssm: Any,
        s3: Any,
        poll_s: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._access, self._ssm, self._s3 = access, ssm, s3
        self._poll_s, self._monotonic, self._sleep = poll_s, monotonic, sleep

    @classmethod
    def connect(cls, access: SsmAccess, *, region: str | None) -> SsmTransport:
        """Make the clients; boto3 finds credentials, region and endpoints in its own places."""
        with _translated("AWS"):
            session = boto3.Session(region_name=region)
            return cls(access, ssm=session.client("ssm"), s3=session.client("s3"))

    def run(self, argv: Sequence[str], *, stdin: bytes, timeout_s: float) -> Done:
        """Run a command. SSM knows no stdin: it travels inside the command."""
        sent = gzip.compress(json.dumps({"argv": list(argv), "stdin": stdin.decode()}).encode())
        packed = base64.b64encode(sent).decode()
        line = f"{self.python} -I -c {shlex.quote(UNPACK)} {packed}"
        if len(line) > LONGEST_COMMAND:
            raise ResourceError(
                f"a request of {len(line)} letters is longer than SSM takes ({LONGEST_COMMAND}); "
                "a model of fewer files, or a host over SSH, would do"
            )
        with _translated(self._access.instance_id):
            sent_id = self._ssm.send_command(
                InstanceIds=[self._access.instance_id],
                DocumentName=DOCUMENT,
                Parameters={"commands": [line], "executionTimeout": [str(int(timeout_s) + 1)]},
                TimeoutSeconds=DELIVERY_S,
            )["Command"]["CommandId"]
            answer = self._await(sent_id, timeout_s=timeout_s)
        stdout = answer["StandardOutputContent"]
        if len(stdout) >= LONGEST_OUTPUT:
            raise ResourceError(f"the answer is longer than SSM returns ({LONGEST_OUTPUT} letters)")
        return Done(
            code=int(answer["ResponseCode"]),
            stdout=stdout.encode(),
            stderr=answer["StandardErrorContent"].encode(),
        )

    def upload(
        self,
        source: Path,
        target: str,
        *,
        entry: FileEntry,
        offset: int,
        on_bytes: Callable[[int], None],
    ) -> None:
        """Bring a file to the bucket, unless it is there, and let the host fetch it."""
        key = f"{self._access.prefix.strip('/')}/{entry.sha256}"
        place = {"Bucket": self._access.bucket, "Key": key}
        with _translated(f"bucket {self._access.bucket}"):
            if self._size(place) != entry.size:
                self._s3.upload_file(str(source), place["Bucket"], place["Key"])
            url = self._s3.generate_presigned_url("get_object", Params=place, ExpiresIn=LINK_S)
        arrived = call(
            self,
            "download",
            {"url": url, "target": target, "offset": offset},
            timeout_s=60 + (entry.size - offset) / BYTES_PER_S,
        )["size"]
        if arrived != entry.size:
            raise UnavailableError(
                f"{entry.path}: the download ended after {arrived} of {entry.size} bytes"
            )
        on_bytes(entry.size)

    def close(self) -> None:
        """Nothing is open."""

    def _await(self, command_id: str, *, timeout_s: float) -> JsonDict:
        which = {"CommandId": command_id, "InstanceId": self._access.instance_id}
        deadline = self._monotonic() + DELIVERY_S + timeout_s + GRACE_S
        while self._monotonic() < deadline:
            answer = self._invocation(which)
            status = answer.get("Status", "Pending")
            if status in ENDED:
                return answer
            if status in LOST:
                raise UnavailableError(
                    f"{self._access.instance_id}: the command's status is {status} "
                    f"({answer.get('StatusDetails')})"
                )
            self._sleep(self._poll_s)
        self._ssm.cancel_command(CommandId=command_id)
        raise UnavailableError(
            f"{self._access.instance_id} did not end a command within {timeout_s:g} s"
        )

    def _invocation(self, which: JsonDict) -> JsonDict:
        try:
            answer: JsonDict = self._ssm.get_command_invocation(**which)
        except ClientError as error:
            if _code(error) == "InvocationDoesNotExist":  # it takes a moment to appear
                return {}
            raise
        return answer

    def _size(self, place: JsonDict) -> int | None:
        try:
            size: int = self._s3.head_object(**place)["ContentLength"]
        except ClientError as error:
            if _code(error) in {"404", "NoSuchKey", "NotFound"}:
                return None
            raise
        return size


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Raise boto's errors as ours."""
    try:
        yield
    except NoCredentialsError as error:
        raise ConfigError(f"{what}: there are no AWS credentials; boto3 looks for them") from error
    except ClientError as error:
        if _code(error) in NOT_ALLOWED:
            raise ConfigError(f"{what}: AWS refuses: {error}") from error
        raise UnavailableError(f"{what}: {error}") from error
    except (BotoCoreError, S3UploadFailedError) as error:
        raise UnavailableError(f"{what}: {error}") from error


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
