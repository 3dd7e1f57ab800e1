"""Credentials: read anew when they are rotated, and never shown."""

import logging
import os
import pickle
import traceback
from base64 import b64decode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector.auth import BasicAuth, BearerToken, SecretFile
from faas_connector.errors import ConfigError

SECRET = "s3cret-Zeichen-ß"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "password"
    path.write_text("first\n")
    return path


def pair_of(auth):
    scheme, _, encoded = auth.headers()["Authorization"].partition(" ")
    assert scheme == "Basic"
    user, _, password = b64decode(encoded, validate=True).decode().partition(":")
    return user, password


def said_by(call):
    """Everything that a refusal shows anywhere: message, causes, traceback."""
    with pytest.raises(ConfigError) as caught:
        call()
    error = caught.value
    assert str(error).isprintable()
    shown = "".join(traceback.format_exception(error))
    while error is not None:
        shown += f"{error} {error!r} {vars(error)} {error.args}"
        shown += repr(getattr(error, "object", b""))
        error = error.__cause__ or error.__context__
    return shown


class TestSecretFile:
    def test_blanks_at_the_ends_are_trimmed(self, secret):
        secret.write_text(" \r\n pass word\t\n\n")
        assert SecretFile(secret).get() == "pass word"

    def test_a_change_is_seen_even_if_length_and_time_are_the_same(self, secret):
        file = SecretFile(secret)
        before = secret.stat()
        secret.write_text("other\n")
        os.utime(secret, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert file.get() == "other"

    def test_a_replaced_file_is_seen(self, secret, tmp_path):
        file = SecretFile(secret)
        (tmp_path / "new").write_text("second")
        (tmp_path / "new").replace(secret)
        assert file.get() == "second"

    def test_kubernetes_swaps_a_symlink_to_the_folder(self, tmp_path):
        for version, text in (("..1", "first"), ("..2", "second")):
            (tmp_path / version).mkdir()
            (tmp_path / version / "password").write_text(text)
        (tmp_path / "..data").symlink_to("..1")
        (tmp_path / "password").symlink_to("..data/password")
        file = SecretFile(tmp_path / "password")
        assert file.get() == "first"
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        assert file.get() == "second"

    def spoil(self, path, how):
        path.unlink()
        if how == "emptied":
            path.write_text(" \n")
        elif how == "folder":
            path.mkdir()
        elif how == "binary":
            path.write_bytes(b"\xff\xfe")
        elif how == "loop":
            path.symlink_to(path.name)

    @pytest.mark.parametrize("how", ["vanished", "emptied", "folder", "binary", "loop"])
    def test_the_last_good_value_holds_and_one_line_says_so(self, secret, caplog, how):
        file = SecretFile(secret)
        self.spoil(secret, how)
        with caplog.at_level(logging.WARNING, "faas_connector.auth"):
            assert [file.get() for _ in range(3)] == ["first"] * 3
        (record,) = caplog.records
        assert str(secret) in record.getMessage()
        assert record.getMessage().endswith("; keeping the last one")
        assert "first" not in record.getMessage()

    def test_trouble_is_told_again_after_it_was_over(self, secret, caplog):
        file = SecretFile(secret)
        for text in ("second", "third"):
            secret.unlink()
            file.get()
            secret.write_text(text)
            assert file.get() == text
        assert len(caplog.records) == 2

    def test_a_missing_file_is_refused_at_the_start(self, tmp_path):
        with pytest.raises(ConfigError) as caught:
            SecretFile(tmp_path / "none")
        assert str(caught.value) == (
            f"the secret {tmp_path / 'none'} can't be read (No such file or directory); "
            "is it mounted, may this user read it, and does it hold the password?"
        )

    @pytest.mark.parametrize(
        ("content", "reason"),
        [(b"", "is empty"), (b" \n", "is empty"), (b"\xff", "is not UTF-8 text")],
    )
    def test_nothing_and_rubbish_are_refused_at_the_start(self, secret, content, reason):
        secret.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            SecretFile(secret)
        assert str(caught.value).startswith(f"the secret {secret} {reason}; is it mounted")

    def test_a_path_that_can_not_be_one_is_refused(self):
        with pytest.raises(ConfigError, match="no path has such characters"):
            SecretFile("a\0b")

    def test_its_bytes_are_not_in_the_error(self, secret):
        secret.write_bytes(SECRET.encode() + b"\xff")
        shown = said_by(lambda: SecretFile(secret))
        assert "s3cret" not in shown
        assert "0xff" not in shown

    def test_repr_shows_the_path_only(self, secret):
        assert repr(SecretFile(secret)) == f"SecretFile({str(secret)!r})"


class TestBasicAuth:
    @given(st.text(min_size=1).filter(lambda text: ":" not in text), st.text())
    def test_the_gateway_gets_both_in_utf_8(self, username, password):
        assert pair_of(BasicAuth(username, password)) == (username, password)

    def test_the_example_of_rfc_7617(self):
        assert BasicAuth("Aladdin", "open sesame").headers() == {
            "Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        }

    def test_bytes_from_the_environment_pass(self):
        (header,) = (
            BasicAuth("admin", b"\xff".decode("utf-8", "surrogateescape")).headers().values()
        )
        assert b64decode(header.removeprefix("Basic ")) == b"admin:\xff"

    def test_both_files_are_read_again(self, tmp_path):
        (tmp_path / "u").write_text("admin\n")
        (tmp_path / "p").write_text("old\n")
        auth = BasicAuth.from_files(tmp_path / "u", str(tmp_path / "p"))
        assert pair_of(auth) == ("admin", "old")
        (tmp_path / "p").write_text("new\n")
        (tmp_path / "u").write_text("root\n")
        assert pair_of(auth) == ("root", "new")

    @pytest.mark.parametrize("username", ["", f"admin:{SECRET}", ":"])
    def test_a_user_name_that_can_not_be_one(self, username):
        said = said_by(lambda: BasicAuth(username, SECRET))
        assert "username must not be empty nor hold a ':'" in said
        assert SECRET not in said

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (("admin", None), "password must be text or a SecretFile, got a NoneType"),
            ((None, SECRET), "username must be text or a SecretFile, got a NoneType"),
            (("admin", SECRET.encode()), "password must be text or a SecretFile, got a bytes"),
        ],
    )
    def test_an_unset_variable_is_no_password(self, values, message):
        with pytest.raises(ConfigError) as caught:
            BasicAuth(*values)
        assert str(caught.value) == f"{message}; is the variable that it comes from set?"

    def test_repr(self, secret):
        assert repr(BasicAuth("admin", SECRET)) == "BasicAuth('admin', '***')"
        auth = BasicAuth.from_files(secret, secret)
        assert repr(auth) == f"BasicAuth(SecretFile({str(secret)!r}), '***')"


class TestFromEnv:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "basic-auth-user").write_text("admin\n")
        (tmp_path / "basic-auth-password").write_text("pw\n")
        return tmp_path

    @pytest.mark.parametrize("value", ["true", "1"])
    def test_exactly_true_or_1_switches_it_on(self, folder, value):
        auth = BasicAuth.from_env({"basic_auth": value, "secret_mount_path": str(folder)})
        assert pair_of(auth) == ("admin", "pw")

    @pytest.mark.parametrize("value", ["TRUE", "True", "false", "0", "", "yes", " true", "on"])
    def test_anything_else_does_not(self, folder, value):
        environ = {"basic_auth": value, "secret_mount_path": str(folder)}
        assert BasicAuth.from_env(environ) is None
        assert BasicAuth.from_env({"secret_mount_path": str(folder)}) is None
        assert BasicAuth.from_env({}) is None

    @pytest.mark.parametrize("more", [{}, {"secret_mount_path": ""}])
    def test_without_a_folder_it_says_which_variable_is_missing(self, more):
        with pytest.raises(ConfigError) as caught:
            BasicAuth.from_env({"basic_auth": "true", **more})
        assert str(caught.value) == (
            "basic_auth is on, but secret_mount_path is not set; set it to the folder with "
            "basic-auth-user and basic-auth-password, for example /var/secrets/gateway"
        )

    @pytest.mark.parametrize("name", ["basic-auth-user", "basic-auth-password"])
    def test_a_missing_file_is_named(self, folder, name):
        (folder / name).unlink()
        with pytest.raises(ConfigError, match=f"{name} can't be read"):
            BasicAuth.from_env({"basic_auth": "1", "secret_mount_path": str(folder)})

    def test_the_environment_is_read_when_it_is_called(self, folder, monkeypatch):
        monkeypatch.setenv("basic_auth", "true")
        monkeypatch.setenv("secret_mount_path", str(folder))
        assert pair_of(BasicAuth.from_env()) == ("admin", "pw")
        monkeypatch.delenv("basic_auth")
        assert BasicAuth.from_env() is None

    def test_a_rotated_password_is_picked_up(self, folder):
        auth = BasicAuth.from_env({"basic_auth": "1", "secret_mount_path": str(folder)})
        (folder / "basic-auth-password").write_text("rotated")
        assert pair_of(auth) == ("admin", "rotated")


class TestBearerToken:
    def test_the_field(self):
        assert BearerToken(" eyJ.x.y\n").headers() == {"Authorization": "Bearer eyJ.x.y"}

    def test_a_file_is_read_again(self, secret):
        token = BearerToken.from_file(secret)
        assert token.headers() == {"Authorization": "Bearer first"}
        secret.write_text("second\n")
        assert token.headers() == {"Authorization": "Bearer second"}

    @given(st.text())
    @example("a\r\nX-Evil: 1")
    @example("")
    def test_nothing_that_ends_a_line_passes(self, text):
        try:
            token = BearerToken(text)
        except ConfigError as error:
            refusal = str(error)
        else:
            assert token.headers() == {"Authorization": f"Bearer {text.strip()}"}
            assert text.strip().isascii()
            assert text.strip().replace("\t", " ").isprintable()
            return
        assert refusal.startswith("the token must be one line of visible ASCII, got ")
        assert refusal.isprintable()

    def test_a_file_that_turns_bad_names_itself_and_not_the_token(self, secret):
        token = BearerToken.from_file(secret)
        secret.write_text(f"{SECRET}\nanother")
        assert str(secret) in said_by(token.headers)
        assert "s3cret" not in said_by(token.headers)
        with pytest.raises(ConfigError, match="must be one line of visible ASCII"):
            BearerToken.from_file(secret)

    def test_an_unset_variable_is_no_token(self):
        with pytest.raises(ConfigError) as caught:
            BearerToken(None)
        assert str(caught.value) == (
            "token must be text or a SecretFile, got a NoneType; "
            "is the variable that it comes from set?"
        )


class TestSecrecy:
    """The secret is in the header, and nowhere that people look."""

    def credentials(self, tmp_path):
        path = tmp_path / "secret"
        path.write_text(SECRET)
        token = tmp_path / "token"
        token.write_text("s3cret")
        return [
            SecretFile(path),
            BasicAuth("admin", SECRET),
            BasicAuth("admin", SecretFile(path)),
            BasicAuth.from_files(path, path),
            BearerToken("s3cret"),
            BearerToken.from_file(token),
        ]

    def test_not_in_any_text_of_the_objects(self, tmp_path):
        for auth in self.credentials(tmp_path):
            for text in (repr(auth), str(auth), f"{auth}", f"{[auth]}", f"{auth} {auth!r}"):
                assert "s3cret" not in text
                assert "***" in text or "SecretFile" in text

    @pytest.mark.parametrize(
        "call",
        [
            lambda: BasicAuth("", SECRET),
            lambda: BasicAuth("a:b", SECRET),
            lambda: BasicAuth(None, SECRET),
            lambda: BasicAuth("admin", SECRET.encode()),
            lambda: BearerToken(SECRET),
            lambda: BearerToken(f"{SECRET}\n{SECRET}"),
            lambda: BearerToken(SECRET.encode()),
        ],
    )
    def test_not_in_any_refusal(self, call):
        message = said_by(call).split("ConfigError:")[-1]
        assert "s3cret" not in message


def test_objects_can_be_copied(secret):
    auth = pickle.loads(pickle.dumps(BasicAuth("admin", SecretFile(secret))))
    secret.write_text("second")
    assert pair_of(auth) == ("admin", "second")
