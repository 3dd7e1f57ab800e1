"""Who may use a server of NATS, and over what: each kind of credentials, TLS, certificates."""

import base64
import json
import os

import nkeys
import pytest
import trustme

from faas_connector.auth import SecretFile
from faas_connector.errors import ConfigError, SourceError
from faas_connector.sources.jetstream import JetStreamSource
from faas_connector.sources.nats import NatsSource
from faas_connector.testing.contract_kit import opened
from servers.nats import NatsServer


class Identity:
    """A pair of keys, as `nk` makes them."""

    def __init__(self, prefix):
        self.seed = nkeys.encode_seed(os.urandom(32), prefix).decode()
        self._pair = nkeys.from_seed(bytearray(self.seed.encode()))
        self.public = self._pair.public_key.decode()

    def signed(self, subject, kind, **claims):
        """A JWT about another identity, as `nsc` makes them."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {
            "jti": "1", "iat": 1, "iss": self.public, "sub": subject.public, "name": kind,
            "nats": {"type": kind, "version": 2, **claims},
        }  # fmt: skip
        text = ".".join(encoded(json.dumps(part).encode()) for part in (head, body))
        return f"{text}.{encoded(self._pair.sign(text.encode()))}"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def is_taken(source):
    """Whether the server takes who asks."""
    async with opened(source, (), 30) as reading:
        await reading.next(0.0)


async def refused(source, said, *secrets):
    with pytest.raises(SourceError) as caught:
        await is_taken(source)
    text = str(caught.value)
    assert said in text
    assert "\n" not in text
    for secret in secrets:
        assert secret not in text
        assert secret not in repr(source)


def started(folder, config):
    return NatsServer(folder, config=config)


def source(server, **options):
    return NatsSource(url=server.url, topics=("a",), **options)


REFUSED = "refuses user, password, token or key"


async def test_a_token(tmp_path):
    with started(tmp_path, 'authorization {token: "t0ken"}') as server:
        await is_taken(source(server, token="t0ken"))
        (tmp_path / "token").write_text("t0ken\n")
        await is_taken(source(server, token=SecretFile(tmp_path / "token")))
        await refused(source(server, token="wr0ng"), REFUSED, "wr0ng")
        await refused(source(server), REFUSED)


async def test_user_and_password(tmp_path):
    with started(tmp_path, 'authorization {user: me, password: "s3cret"}') as server:
        (tmp_path / "password").write_text("s3cret\n")
        await is_taken(source(server, user="me", password=SecretFile(tmp_path / "password")))
        await refused(source(server, user="me", password="wr0ng"), REFUSED, "wr0ng")


async def test_an_nkey(tmp_path):
    user, other = (Identity(nkeys.PREFIX_BYTE_USER) for _ in range(2))
    with started(tmp_path, f"authorization {{users: [{{nkey: {user.public}}}]}}") as server:
        (tmp_path / "seed").write_text(user.seed)
        await is_taken(source(server, nkey=SecretFile(tmp_path / "seed")))
        await refused(source(server, nkey=other.seed), REFUSED, other.seed)
        await refused(source(server, nkey="SUnonsense"), "are nkey and creds_file right?", "SUnons")


async def test_a_file_of_credentials(tmp_path):
    operator = Identity(nkeys.PREFIX_BYTE_OPERATOR)
    account = Identity(nkeys.PREFIX_BYTE_ACCOUNT)
    user = Identity(nkeys.PREFIX_BYTE_USER)
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    limits["wildcards"] = True
    known = operator.signed(account, "account", limits=limits)
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "operator.jwt").write_text(operator.signed(operator, "operator"))
    config = (
        f'operator: "{folder}/operator.jwt"\nsystem_account: {account.public}\n'
        f'resolver: MEMORY\nresolver_preload: {{{account.public}: "{known}"}}'
    )
    creds = tmp_path / "me.creds"
    allowed = account.signed(user, "user", subs=-1, data=-1, payload=-1)
    creds.write_text(
        f"-----BEGIN NATS USER JWT-----\n{allowed}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    with started(folder, config) as server:
        await is_taken(source(server, creds_file=creds))
        await refused(source(server), REFUSED)
        creds.write_text("nonsense")
        ours = source(server, creds_file=creds)
        await refused(ours, "are nkey and creds_file right?")
        creds.unlink()
        await refused(ours, f"can't read {creds} (No such file")
        with pytest.raises(ConfigError, match=r"creds_file: .*can't be read \(No such file"):
            source(server, creds_file=creds)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(authority, tmp_path_factory):
    """Shows a certificate, and asks for one."""
    folder = tmp_path_factory.mktemp("secure")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    own = authority.issue_cert("127.0.0.1")
    own.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    own.private_key_pem.write_to_path(folder / "key.pem")
    config = (
        f'tls {{cert_file: "{folder}/cert.pem", key_file: "{folder}/key.pem", '
        f'ca_file: "{folder}/ca.pem", verify: true}}'
    )
    with NatsServer(folder, config=config) as server:
        yield server


def certificate(folder, authority):
    file = folder / "client.pem"
    authority.issue_cert("connector").private_key_and_cert_chain_pem.write_to_path(file)
    return file


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_tls_with_a_client_certificate(secure, authority, tmp_path, scheme):
    options = {
        "url": f"{scheme}://{secure.address}",
        "ca_file": secure.folder / "ca.pem",
        "cert_file": certificate(tmp_path, authority),
    }
    await is_taken(NatsSource(topics=("a",), **options))
    with pytest.raises(SourceError, match="there is no stream GONE"):
        await is_taken(JetStreamSource(stream="GONE", **options))


async def test_what_is_wrong_with_tls_is_told(secure, authority, tmp_path):
    ours = certificate(tmp_path, authority)
    known = {"ca_file": secure.folder / "ca.pem"}
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    await refused(source(secure, cert_file=ours, ca_file=other), "CERTIFICATE_VERIFY_FAILED")
    foreign = certificate(tmp_path, trustme.CA())
    for options in ({"cert_file": foreign, **known}, known, {}):
        await refused(source(secure, **options), "is TLS as it wants it?")
