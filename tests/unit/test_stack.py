"""stack.yaml is read as faas-cli reads it; a mistake is named with file and line."""

from pathlib import Path
from textwrap import dedent

import pytest

from faas_connector.errors import ConfigError
from faas_connector.local.stack import Stack, StackError, StackFunction, local_secrets, read_stack
from faas_connector.local.substitution import Substituted

HEAD = "provider:\n  name: openfaas\n"


def read(tmp_path: Path, text: str, **environ: str) -> Stack:
    file = tmp_path / "stack.yaml"
    file.write_text(text)
    return read_stack(file, environ)


def function(tmp_path: Path, fields: str, **environ: str) -> StackFunction:
    body = "".join(f"    {line}\n" for line in dedent(fields).strip().splitlines())
    (only,) = read(tmp_path, f"{HEAD}functions:\n  fn:\n{body}", **environ).functions
    return only


def refusal(tmp_path: Path, text: str, **environ: str) -> str:
    with pytest.raises(StackError) as caught:
        read(tmp_path, text, **environ)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{tmp_path}/")


def test_a_whole_stack(tmp_path):
    (tmp_path / "mail").mkdir()
    stack = read(
        tmp_path,
        dedent("""\
            version: 1.0
            provider:
              name: openfaas
              gateway: http://127.0.0.1:8080
            functions:
              mail:
                lang: python3-http
                handler: ./mail
                image: ${REGISTRY:-ghcr.io/acme}/mail:${TAG}
                namespace: staging
                environment:
                  attempts: 30
                secrets:
                  - smtp-password
                annotations:
                  topic: order.created,order.paid
                  com.openfaas.retry.attempts: 5
                labels:
                  tier: backend
                limits: {memory: 128Mi}
                readonly_root_filesystem: true
              shout:
                skip_build: true
                image: acme/shout
                fprocess: tr a-z A-Z
            """),
        TAG="1.2",
    )
    mail, shout = stack.functions
    assert stack.gateway == "http://127.0.0.1:8080"
    assert stack.warnings == ()
    assert (mail.name, mail.lang, mail.namespace) == ("mail", "python3-http", "staging")
    assert mail.image == "ghcr.io/acme/mail:1.2"
    assert mail.handler == (tmp_path / "mail").resolve()
    assert mail.environment == {"attempts": "30"}
    assert mail.secrets == ("smtp-password",)
    assert mail.annotations["com.openfaas.retry.attempts"] == "5"
    assert mail.labels == {"tier": "backend"}
    assert mail.limits == {"memory": "128Mi"}
    assert mail.read_only
    assert mail.lines["name"] == 6
    assert mail.lines["handler"] == 8
    assert mail.lines["annotations.topic"] == 16
    assert mail.lines["environment.attempts"] == 12
    assert (shout.fprocess, shout.handler, shout.lang) == ("tr a-z A-Z", None, "")


@pytest.mark.parametrize(
    "scalar",
    ["30", "1.50", "yes", "true", "0x1F", "1e3", "2026-01-01", "010", "1_000", "~x", ".inf"],
)
def test_scalars_in_maps_are_taken_literally(tmp_path, scalar):
    fn = function(tmp_path, f"annotations:\n  a: {scalar}\nenvironment:\n  e: {scalar}")
    assert fn.annotations == {"a": scalar}
    assert fn.environment == {"e": scalar}


def test_null_is_empty(tmp_path):
    fn = function(tmp_path, "environment:\n  e:\nannotations:\nlabels: null\nsecrets:\nlang: ~")
    assert fn.environment == {"e": ""}
    assert (fn.annotations, fn.labels, fn.secrets, fn.lang) == ({}, {}, (), "")


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("${NAME}", "value"),
        ("a${NAME}b${NAME}", "avaluebvalue"),
        ("[${UNKNOWN}]", "[]"),
        ("${UNKNOWN:-a b/c:d}", "a b/c:d"),
        ("${EMPTY:-default}", "default"),
        ("${NAME:-default}", "value"),
        ("${UNKNOWN:-}", ""),
        ("${UNKNOWN:-${NAME}-x}", "value-x"),
        ("${UNKNOWN:-$5}", "$5"),
        ("${UNKNOWN=d}", "d"),
        ("${UNKNOWN:=d}", "d"),
        ("$NAME costs $5", "$NAME costs $5"),
        ("$${NAME}", "${NAME}"),
        ("$$NAME", "$NAME"),
        (r"a\\b\/c\d", r"a\b/c\d"),
        ("${#NAME}", "5"),
        ("${NAME^}${NAME^^}", "ValueVALUE"),
        ("${UPPER,}${UPPER,,}", "uPPERupper"),
        ("${NAME:1}-${NAME:1:2}-${NAME:-2}", "alue-al-value"),
        ("${FILE#*.}-${FILE##*.}", "b.c-c"),
        ("${FILE%.*}-${FILE%%.*}", "a.b-a"),
        ("${NAME/a/o}-${FILE//./_}-${NAME/#va/o}-${NAME/%ue/o}", "volue-a_b_c-olue-valo"),
        ("# ${NAME}", "# value"),
        ("trailing $", "trailing $"),
    ],
)
def test_substitution(source, result):
    environ = {"NAME": "value", "EMPTY": "", "UPPER": "UPPER", "FILE": "a.b.c"}
    assert Substituted(source, environ).text == result


@pytest.mark.parametrize("bad", ["${", "${}", "${NAME", "${NAME-x}", "${NAME:-x", "${a b}", "${#}"])
def test_a_bad_substitution_is_named_with_its_line(tmp_path, bad):
    message = refusal(tmp_path, f"{HEAD}functions:\n  fn:\n    image: {bad}\n")
    assert message.startswith("stack.yaml:5: ")
    assert bad in message
    assert "${REGISTRY:-docker.io}" in message


def test_lines_survive_values_with_line_ends(tmp_path):
    text = f"{HEAD}functions:\n  fn:\n    # ${{TEXT}}\n    secrets: no-list\n"
    message = refusal(tmp_path, text, TEXT="one\n# two\n# three")
    assert message.startswith("stack.yaml:6: functions.fn.secrets is 'no-list': a list is needed")


def test_environment_files_win_in_their_order(tmp_path):
    (tmp_path / "one.yaml").write_text("environment:\n  a: one\n  b: 2\n  c: ${HOME}\\n\n")
    (tmp_path / "two.yaml").write_text("environment:\n  b: two\n")
    fn = function(
        tmp_path,
        """
        environment: {a: own, own: yes}
        environment_file:
          - one.yaml
          - two.yaml
        """,
        HOME="/root",
    )
    assert fn.environment == {"a": "one", "b": "two", "c": "${HOME}\\n", "own": "yes"}


def test_a_missing_environment_file_is_named(tmp_path):
    message = refusal(
        tmp_path, f"{HEAD}functions:\n  fn:\n    environment_file:\n      - none.yaml\n"
    )
    assert message.startswith("stack.yaml:6: environment_file is 'none.yaml': can't read")


def test_a_mistake_in_an_environment_file_names_that_file(tmp_path):
    (tmp_path / "env.yaml").write_text("\nenvironment: [a]\n")
    message = refusal(tmp_path, f"{HEAD}functions:\n  fn:\n    environment_file: [env.yaml]\n")
    assert message.startswith("env.yaml:2: environment is '[…]': a map is needed")


@pytest.mark.parametrize("where", ["fprocess: cat", "environment: {fprocess: cat}"])
def test_a_command_is_a_key_or_in_the_environment(tmp_path, where):
    assert function(tmp_path, f"lang: node20\n{where}").fprocess == "cat"


def test_the_key_wins_over_the_environment(tmp_path):
    assert function(tmp_path, "fprocess: cat\nenvironment: {fprocess: wc}").fprocess == "cat"


def test_anchors_and_merge_keys(tmp_path):
    stack = read(
        tmp_path,
        f"x-common: &common\n  lang: python3-http\n  namespace: a\n{HEAD}"
        "functions:\n  fn:\n    <<: *common\n    namespace: b\n",
    )
    assert (stack.functions[0].lang, stack.functions[0].namespace) == ("python3-http", "b")
    assert stack.functions[0].lines["lang"] == 2
    assert stack.warnings == ()


def test_unknown_fields_warn_with_the_nearest_name(tmp_path):
    stack = read(
        tmp_path,
        f"{HEAD}function: {{}}\nfunctions:\n  fn:\n    anotations: {{}}\n    zzzzz: 1\n",
    )
    first, second, third = (str(w).removeprefix(f"{tmp_path}/") for w in stack.warnings)
    assert first.startswith("stack.yaml:3: the file has an unknown field 'function'")
    assert first.endswith("did you mean 'functions'?")
    assert second.startswith("stack.yaml:6: function fn has an unknown field 'anotations'")
    assert second.endswith("did you mean 'annotations'?")
    assert "'zzzzz', which is ignored; known are lang, handler" in third


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("", 1, "it is empty; begin with 'provider: {name: openfaas}'"),
        ("a: [1\nb: 2", 1, "no YAML"),
        ('a: 1\nb: "2\nc: 3\nd: 4\n', 2, "no YAML"),
        ("- a\n", 1, "the file is '[…]': a map is needed"),
        ("functions: {}\n", 1, "provider.name is '': write 'name: openfaas'"),
        ("provider:\n  name: faas\n", 2, "provider.name is 'faas': write 'name: openfaas'"),
        (f"version: 2.0\n{HEAD}", 1, "version is '2.0': the only version is '1.0'"),
        (f"version: 1\n{HEAD}", 1, "version is '1'"),
        (f"{HEAD}functions: []\n", 3, "functions is '[…]': a map is needed"),
        (f"{HEAD}functions:\n  fn: cat\n", 4, "functions.fn is 'cat': a map is needed"),
        (f"{HEAD}functions:\n  a b: {{}}\n", 4, "'a b' is no function name"),
        (f"{HEAD}functions:\n  a: {{}}\n  a: {{}}\n", 5, "it stands twice, first in line 4"),
        (
            f"{HEAD}functions:\n  fn:\n    annotations:\n      topic: [a, b]\n",
            6,
            "functions.fn.annotations.topic is '[…]': a text is needed, like 'topic: payment",
        ),
        (f"{HEAD}functions:\n  fn:\n    lang: {{}}\n", 5, "functions.fn.lang is '{…}'"),
        (f"{HEAD}functions:\n  fn:\n    readonly_root_filesystem: 7\n", 5, "write 'true'"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, text, line, part):
    message = refusal(tmp_path, text)
    assert message.startswith(f"stack.yaml:{line}: ")
    assert part in message


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: can't read the stack file \(No such file"):
        read_stack(tmp_path / "none.yaml", {})


def test_binary_garbage_is_refused(tmp_path):
    (tmp_path / "stack.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StackError, match="no UTF-8"):
        read_stack(tmp_path / "stack.yaml", {})
    assert "no YAML" in refusal(tmp_path, "a: \x07")


def test_only_the_first_document_counts(tmp_path):
    assert read(tmp_path, f"{HEAD}---\nprovider: [\n").functions == ()


def test_local_secrets_are_files_beside_the_stack(tmp_path):
    assert local_secrets(tmp_path) == {}
    (tmp_path / ".secrets").mkdir()
    (tmp_path / ".secrets" / "api-key").write_bytes(b"k\n")
    (tmp_path / ".secrets" / ".gitignore").write_bytes(b"*")
    assert local_secrets(tmp_path) == {"api-key": b"k\n"}
