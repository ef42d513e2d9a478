"""Tokens that must not open anything, and in each algorithm one that does."""

import hashlib
import hmac
import json
import warnings

import pytest
from joserfc.jwk import RSAKey
from token_worlds import AUDIENCE, ISSUER, KEYS, NOW, World, b64, claims, part, public, token

from greenlight.adapters.gateway_auth.jws import MAX_TOKEN
from greenlight.gateway.principals import Principal
from greenlight.testing.oidc_issuer import ALGORITHMS, new_key, sign

OURS = {"alg": "ES256", "kid": "key-ES256", "typ": "at+jwt"}


@pytest.fixture(scope="module")
def world():
    world = World()
    world.published = public(*KEYS.values(), SMALL)
    return world


def unsigned(header, payload=None, signature=""):
    return f"{part(header)}.{part(payload or claims())}.{signature}"


def with_hmac(secret, *, algorithm="HS256", **header):
    signed = f"{part({**OURS, 'alg': algorithm, **header})}.{part(claims())}"
    name = f"sha{algorithm[2:]}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), getattr(hashlib, name)))}"


def with_key_id(key_id):
    return sign(claims(), new_key("ES256", key_id))


def raw(header, payload, key="ES256"):
    """A token that the issuer signed, whatever its parts are."""
    from joserfc.jws import JWSRegistry

    signed = f"{b64(header)}.{b64(payload)}".encode()
    signature = JWSRegistry.algorithms[key].sign(signed, KEYS[key])
    return f"{signed.decode()}.{b64(signature)}"


def good_header():
    return json.dumps(OURS).encode()


def twice(name, first, second):
    """Claims with a name that is there twice; the first or the last one would be good."""
    rest = json.dumps(claims(**{name: None}))
    return f'{rest[:-1]}, "{name}": {json.dumps(first)}, "{name}": {json.dumps(second)}}}'.encode()


ATTACKER = new_key("RS256", "key-RS256")
with warnings.catch_warnings():  # so does joserfc
    warnings.simplefilter("ignore")
    SMALL = RSAKey.generate_key(1024, {"kid": "small", "use": "sig", "alg": "RS256"})
PUBLIC_PEM = KEYS["RS256"].as_pem(private=False)
ES_PARTS = token().split(".")

ATTACKS = {
    "alg none": unsigned({**OURS, "alg": "none"}),
    "alg None": unsigned({**OURS, "alg": "None"}),
    "alg NONE": unsigned({**OURS, "alg": "NONE"}),
    "alg nOnE with a signature": unsigned({**OURS, "alg": "nOnE"}, signature=ES_PARTS[2]),
    "alg none with a blank": unsigned({**OURS, "alg": "none "}),
    "alg empty": unsigned({**OURS, "alg": ""}),
    "alg missing": unsigned({"kid": "key-ES256"}),
    "alg null": unsigned({**OURS, "alg": None}),
    "alg a list": unsigned({**OURS, "alg": ["ES256"]}),
    "alg a number": unsigned({**OURS, "alg": 256}),
    "alg in lower case": unsigned({**OURS, "alg": "es256"}, signature=ES_PARTS[2]),
    "the good signature cut off": f"{ES_PARTS[0]}.{ES_PARTS[1]}.",
    "HS256 with the public key as PEM": with_hmac(PUBLIC_PEM, kid="key-RS256"),
    "HS256 with the public key as DER": with_hmac(KEYS["RS256"].as_der(private=False)),
    "HS384 with the public key": with_hmac(PUBLIC_PEM, algorithm="HS384", kid="key-RS256"),
    "HS512 with the public key": with_hmac(PUBLIC_PEM, algorithm="HS512", kid="key-RS256"),
    "HS256 with the public key as JSON": with_hmac(
        json.dumps(KEYS["RS256"].as_dict(private=False)).encode(), kid="key-RS256"
    ),
    "HS256 with an empty secret": with_hmac(b""),
    "RS256 said, ES256 key": unsigned({**OURS, "alg": "RS256"}, signature=ES_PARTS[2]),
    "ES256 said, RS256 signature": unsigned(OURS, signature=token("RS256").split(".")[2]),
    "PS256 said, RS256 key": unsigned(
        {**OURS, "alg": "PS256", "kid": "key-RS256"}, signature=token("RS256").split(".")[2]
    ),
    "ES384 said, ES256 key": unsigned({**OURS, "alg": "ES384"}, signature=ES_PARTS[2]),
    "EdDSA said, ES256 key": unsigned({**OURS, "alg": "EdDSA"}, signature=ES_PARTS[2]),
    "ES256K, which nobody allowed": unsigned({**OURS, "alg": "ES256K"}, signature=ES_PARTS[2]),
    "an ES256 signature of zeros": unsigned(OURS, signature=b64(bytes(64))),
    "an ES256 signature of r = s = n": unsigned(OURS, signature=b64(bytes.fromhex(
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551" * 2))),
    "an ES256 signature in DER": unsigned(OURS, signature=b64(bytes.fromhex("3006020101020101"))),
    "kid missing": unsigned({"alg": "ES256", "typ": "at+jwt"}, signature=ES_PARTS[2]),
    "kid empty": unsigned({**OURS, "kid": ""}),
    "kid null": unsigned({**OURS, "kid": None}),
    "kid a list": unsigned({**OURS, "kid": ["key-ES256"]}),
    "kid an object": unsigned({**OURS, "kid": {"a": 1}}),
    "kid too long": unsigned({**OURS, "kid": "k" * 300}),
    "kid a path to an empty file": with_hmac(b"", kid="/dev/null"),
    "kid a path": with_key_id("/dev/null"),
    "kid a path upwards": with_key_id("../../../../dev/null"),
    "kid an address": with_key_id("https://evil.example/key"),
    "kid SQL": with_key_id("x' UNION SELECT 'x'; --"),
    "kid a shell command": with_key_id("key-ES256; cat /etc/passwd"),
    "kid a template": with_key_id("{{7*7}}"),
    "kid with a NUL": with_key_id("key-ES256\x00"),
    "kid with a blank": with_key_id(" key-ES256"),
    "kid in capitals": with_key_id("KEY-ES256"),
    "kid of another key": sign(claims(), new_key("ES256", "key-ES256")),
    "kid unknown": sign(claims(), new_key("ES256", "made-up")),
    "jwk in the header": sign(
        claims(), ATTACKER, header={"jwk": ATTACKER.as_dict(private=False)}
    ),
    "jku in the header": sign(
        claims(), new_key("ES256", "theirs"), header={"jku": "https://evil.example/keys"}
    ),
    "jku that looks like the issuer's": sign(
        claims(), new_key("ES256", "theirs"), header={"jku": f"{ISSUER}@evil.example/keys"}
    ),
    "x5u in the header": sign(claims(), ATTACKER, header={"x5u": "https://evil.example/c.pem"}),
    "x5c in the header": sign(claims(), ATTACKER, header={"x5c": ["MIIB"]}),
    "a key of 1024 bits": sign(claims(), SMALL),
    "crit": raw(json.dumps({**OURS, "crit": ["exp"]}).encode(), json.dumps(claims()).encode()),
    "crit, unknown": raw(
        json.dumps({**OURS, "crit": ["x"], "x": 1}).encode(), json.dumps(claims()).encode()
    ),
    "crit, empty": raw(json.dumps({**OURS, "crit": []}).encode(), json.dumps(claims()).encode()),
    "b64 false": raw(json.dumps({**OURS, "b64": False}).encode(), json.dumps(claims()).encode()),
    "expired": token(exp=NOW - 31),
    "expired long ago": token(exp=1),
    "exp missing": token(exp=None),
    "exp a string": token(exp=str(NOW + 300)),
    "exp true": token(exp=True),
    "exp negative": token(exp=-1),
    "exp too far": token(exp=10**18),
    "exp infinite": raw(good_header(), json.dumps(claims(exp=float("inf"))).encode()),
    "exp not a number": raw(good_header(), json.dumps(claims(exp=float("nan"))).encode()),
    "no number, in a claim that nobody reads": raw(
        good_header(), json.dumps(claims(x=float("nan"))).encode()
    ),
    "exp of 5000 digits": raw(
        good_header(),
        json.dumps(claims(exp=None))[:-1].encode() + b', "exp": ' + b"9" * 5000 + b"}",
    ),
    "nbf in the future": token(nbf=NOW + 31),
    "nbf a string": token(nbf=str(NOW)),
    "iat in the future": token(iat=NOW + 31),
    "iat a list": token(iat=[NOW]),
    "another issuer": token(iss="https://evil.example"),
    "issuer with a slash more": token(iss=f"{ISSUER}/"),
    "issuer in capitals": token(iss=ISSUER.upper()),
    "issuer a list": token(iss=[ISSUER]),
    "issuer missing": token(iss=None),
    "another audience": token(aud="https://other.example"),
    "audience a prefix": token(aud=AUDIENCE[:-1]),
    "audience longer": token(aud=f"{AUDIENCE}.evil.example"),
    "audiences of others": token(aud=["https://other.example", "https://more.example"]),
    "audience in a list in a list": token(aud=[[AUDIENCE]]),
    "audience an object": token(aud={AUDIENCE: True}),
    "audience missing": token(aud=None),
    "typ of an ID token": token(header={"typ": "id+jwt"}),
    "typ of a DPoP proof": token(header={"typ": "dpop+jwt"}),
    "typ of a logout token": token(header={"typ": "logout+jwt"}),
    "typ a list": raw(
        json.dumps({**OURS, "typ": ["at+jwt"]}).encode(), json.dumps(claims()).encode()
    ),
    "typ null": raw(json.dumps({**OURS, "typ": None}).encode(), json.dumps(claims()).encode()),
    "an ID token with a nonce": token(header={"typ": "JWT"}, nonce="n"),
    "an ID token with at_hash": token(header={"typ": "JWT"}, at_hash="h"),
    "a Keycloak ID token": token(header={"typ": "JWT"}, typ="ID"),
    "a Keycloak refresh token": token(header={"typ": "JWT"}, typ="Refresh"),
    "a security event": token(header={"typ": "JWT"}, events={"http://e": {}}),
    "a token bound to a key": token(cnf={"jkt": "x"}),
    "sub missing": token(sub=None),
    "sub empty": token(sub=""),
    "sub a number": token(sub=7),
    "sub too long": token(sub="s" * 256),
    "sub with a line break": token(sub="alice\nadmin"),
    "sub that turns the line around": token(sub="alice\u202enimda"),
    "sub half a character": raw(
        good_header(), json.dumps(claims(sub=None))[:-1].encode() + b', "sub": "\\ud800"}'
    ),
    "no such tenant": token(tenant="nobody"),
    "tenant a look-alike": token(tenant="аcme"),
    "tenant in capitals": token(tenant="ACME"),
    "tenant missing": token(tenant=None),
    "tenant a list": token(tenant=["acme"]),
    "exp twice, the last one good": raw(good_header(), twice("exp", 1, NOW + 300)),
    "exp twice, the first one good": raw(good_header(), twice("exp", NOW + 300, 1)),
    "tenant twice": raw(good_header(), twice("tenant", "narrow", "acme")),
    "alg twice": raw(
        b'{"alg":"none","kid":"key-ES256","alg":"ES256"}', json.dumps(claims()).encode()
    ),
    "a signature cut short": token()[:-10],
    "a signature of another token": f"{'.'.join(token().split('.')[:2])}.{ES_PARTS[2][:-2]}AA",
    "a changed payload": f"{ES_PARTS[0]}.{part(claims(tenant='narrow'))}.{ES_PARTS[2]}",
    "a changed header": f"{part({**OURS, 'x': 1})}.{ES_PARTS[1]}.{ES_PARTS[2]}",
    "padding": token() + "=",
    "a line break at the end": token() + "\n",
    "a blank before": " " + token(),
    "two tokens": f"{token()} {token()}",
    "a fourth part": token() + ".x",
    "five parts (encrypted)": ".".join([part({**OURS, "enc": "A256GCM"}), "a", "b", "c", "d"]),
    "two parts": ".".join(ES_PARTS[:2]),
    "dots": "..",
    "nothing": "",
    "no base64": "!.!.!",
    "standard base64": token().replace("-", "+").replace("_", "/") + "+",
    "a full-width letter": "ｅ" + token()[1:],
    "an emoji": token() + "😀",
    "half a character": token() + "\ud800",
    "a NUL": token() + "\x00",
    "a header that is a list": raw(b"[]", json.dumps(claims()).encode()),
    "a header that is a text": raw(b'"ES256"', json.dumps(claims()).encode()),
    "a header with a BOM": raw(b"\xef\xbb\xbf" + good_header(), json.dumps(claims()).encode()),
    "a header in UTF-16": raw(json.dumps(OURS).encode("utf-16"), json.dumps(claims()).encode()),
    "a payload that is no object": raw(good_header(), b"7"),
    "a payload that is no JSON": raw(good_header(), b"{'sub': 'x'}"),
    "a payload that is no UTF-8": raw(good_header(), b'{"sub": "\xff"}'),
    "a deep claim": raw(
        good_header(),
        json.dumps(claims())[:-1].encode() + b', "a": ' + b"[" * 2500 + b"]" * 2500 + b"}",
    ),
    "deep lists": raw(good_header(), b"[" * 3000 + b"]" * 3000),
    "a deep header": raw(b"[" * 3000 + b"]" * 3000, json.dumps(claims()).encode()),
    "a huge token": token(padding="p" * 8000),
    "a huge word": "a" * 1_000_000,
    "a million dots": "." * 1_000_000,
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_opens_nothing(world, attack):
    refusal = world.ask(attack)
    assert not isinstance(refusal, Principal)
    assert refusal.status == 401
    assert refusal.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_refusal_shows_nothing_of_the_token(world, attack):
    body = world.ask(attack).body().decode()
    for piece in attack.split("."):
        assert len(piece) < 8 or piece not in body
    assert "alice" not in body


@pytest.mark.parametrize(
    ("attack", "rule"),
    [
        ("kid empty", "at most 256 characters"),
        ("kid too long", "at most 256 characters"),
        ("no number, in a claim that nobody reads", "its payload is no JSON object"),
        ("a deep claim", "its payload is no JSON object"),
        ("a key of 1024 bits", "`kid` is no key of its issuer"),
        ("PS256 said, RS256 key", "not for this algorithm"),
        ("HS256 with the public key as PEM", "must be one of RS256"),
    ],
)
def test_a_refusal_names_the_rule(world, attack, rule):
    assert rule in world.ask(ATTACKS[attack]).message


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_token_opens(world, algorithm):
    assert isinstance(world.ask(token(algorithm)), Principal)


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt"])
def test_types_are_compared_as_media_types(world, typ):
    assert isinstance(world.ask(token(header={"typ": typ})), Principal)


def test_a_token_may_be_as_long_as_the_limit_and_no_longer(world):
    room = MAX_TOKEN - len(token(padding=""))
    exact = next(t for n in range(room * 3 // 4, 0, -1)
                 if len(t := token(padding="p" * n)) <= MAX_TOKEN)  # fmt: skip
    assert len(exact) > MAX_TOKEN - 4
    assert isinstance(world.ask(exact), Principal)
    assert "the limit is 8192" in world.ask(exact + "AAAA").message


def test_a_header_that_nobody_reads_harms_nobody(world):
    found = world.ask(token(header={"jku": "https://other.example/keys", "x5c": ["MIIB"]}))
    assert isinstance(found, Principal)


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "RS256"])
def test_an_issuer_has_no_other_algorithm_than_its_own(algorithm):
    refusal = World(issuer={"algorithms": ["RS256"]}).ask(token(algorithm))
    assert "must be one of RS256" in refusal.message


def test_a_key_that_is_published_for_another_algorithm_is_not_used():
    world = World()
    key = KEYS["RS256"].as_dict(private=False)
    world.published = {"keys": [key | {"alg": "RS512"}]}
    assert "its key is not for this algorithm" in world.ask(token("RS256")).message


def test_a_key_for_encryption_is_not_used():
    world = World()
    world.published = {"keys": [KEYS["RS256"].as_dict(private=False) | {"use": "enc"}]}
    world.published["keys"] += public(KEYS["ES256"])["keys"]
    assert "`kid`" in world.ask(token("RS256")).message
