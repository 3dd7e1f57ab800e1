"""Annotations of a stack.yaml, with the line of each mistake."""

from __future__ import annotations

import json

import pytest

from faas_connector.cli.app import run
from faas_connector.cli.lint import lint_stack
from faas_connector.local.stack import examine_stack
from faas_connector.matching import TopicMatcher

HEAD = "provider:\n  name: openfaas\nfunctions:\n"
GOOD = """\
  good:
    lang: python3-http
    handler: ./good
    image: good:latest
    annotations:
      topic: payment.received, payment.refused
      com.openfaas.retry.attempts: 10
"""
BAD = """\
  bad:
    lang: python3-http
    handler: ./bad
    image: bad:latest
    annotations:
      topic: payment.received
      com.openfaas.retry.atempts: 10
      faas-connector.timeout: 30
      example.com/owner: eve
"""


@pytest.fixture
def stack(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "stack.yaml"
        path.write_text(text)
        return str(path)

    return write


def findings(path: str, matcher: TopicMatcher = TopicMatcher.EXACT) -> tuple[str, ...]:
    stack, mistakes = examine_stack(path, {})
    return tuple(map(str, lint_stack(stack, mistakes, matcher=matcher).findings))


def test_a_good_stack(stack):
    assert findings(stack(HEAD + GOOD)) == ()


def test_mistakes_come_with_their_line_and_the_nearest_right_name(stack):
    path = stack(HEAD + GOOD + BAD)
    misspelt, unparsable = findings(path)
    assert misspelt.startswith(f"{path}:17: bad: annotation com.openfaas.retry.atempts: is unknown")
    assert "did you mean 'com.openfaas.retry.attempts'?" in misspelt
    assert unparsable.startswith(f"{path}:18: bad: annotation faas-connector.timeout: ")
    assert "got '30'; for example '90s'" in unparsable


def test_a_field_that_is_ignored_is_a_mistake(stack):
    path = stack(HEAD + GOOD.replace("annotations:", "anotations:"))
    (finding,) = findings(path)
    assert finding.startswith(f"{path}:8: ")
    assert "did you mean 'annotations'?" in finding


def test_patterns_are_read_in_the_dialect_of_the_matcher(stack):
    path = stack(HEAD + GOOD.replace("payment.received,", "'#/a,").replace("refused", "refused'"))
    assert findings(path) == ()
    (finding,) = findings(path, TopicMatcher.MQTT)
    assert finding.startswith(f"{path}:9: good: annotation topic: pattern '#/a'")


def test_the_command_fails_on_mistakes_and_not_without(stack, capsys):
    assert run(["check", "--stack", stack(HEAD + GOOD)]) == 0
    assert "1 function, of which 1 ask for topics; 0 mistakes" in capsys.readouterr().out

    path = stack(HEAD + GOOD + BAD)
    assert run(["check", "--stack", path]) == 1
    captured = capsys.readouterr()
    assert f"{path}:17: bad: " in captured.out
    assert "ok      good: payment.received, payment.refused" in captured.out
    assert captured.err == f"Error: {path} has 2 mistakes; mend the lines above\n"


def test_as_json_each_mistake_has_its_line(stack, capsys):
    path = stack(HEAD + GOOD + BAD)
    assert run(["check", "--stack", path, "--json"]) == 1
    captured = capsys.readouterr()
    *mistakes, good = json.loads(captured.out)
    assert [(each["result"], each["file"], each["line"]) for each in mistakes] == [
        ("failed", path, 17), ("failed", path, 18),
    ]  # fmt: skip
    assert mistakes[0]["text"].startswith("bad: annotation ")
    text = "good: payment.received, payment.refused"
    assert good == {"result": "ok", "check": "function", "text": text}
    assert captured.err == f"Error: {path} has 2 mistakes; mend the lines above\n"


WRONG = """\
version: 2.0
provider:
  name: openfass
functions:
  bad name:
    lang: [python3-http]
    annotations:
      topic: payment.received
      faas-connector.timeout: 30
  bad:
    readonly_root_filesystem: perhaps
    environment:
      - LEVEL: debug
    environment_file: [none.yaml, env.yaml]
    annotations:
      topic: {a: b}
      com.openfaas.retry.atempts: 10
    lable: x
  bad:
    lang: twice
  worse: python3-http
"""


def test_all_mistakes_of_a_file_are_found_in_the_order_of_its_lines(stack, tmp_path):
    (tmp_path / "env.yaml").write_text("environment: [\n")
    path = stack(WRONG)
    of_env, *others = findings(path)
    assert of_env.startswith(f"{tmp_path}/env.yaml:2: no YAML: ")
    expected = {
        1: "version is '2.0'",
        3: "provider.name is 'openfass': write 'name: openfaas'",
        5: "'bad name' is no function name",
        6: "functions.bad name.lang is '[…]': a text is needed",
        9: "bad name: annotation faas-connector.timeout: ",
        11: "functions.bad.readonly_root_filesystem is 'perhaps': write 'true' or 'false'",
        13: "functions.bad.environment is '[…]': a map is needed",
        14: "environment_file is 'none.yaml': can't read ",
        16: "functions.bad.annotations.topic is '{…}': a text is needed",
        17: "bad: annotation com.openfaas.retry.atempts: ",
        18: "function bad has an unknown field 'lable'",
        19: "functions is 'bad': it stands twice, first in line 10; keep one",
        21: "functions.worse is 'python3-http': a map is needed",
    }
    assert len(others) == len(expected)
    for found, (line, text) in zip(others, expected.items(), strict=True):
        assert found.startswith(f"{path}:{line}: {text}")


BROKEN = {
    "a quote that is never closed": '      topic: "payment.received\n',
    "a list that is never closed": "      topic: [payment.received\n",
    "a tab": "\ttopic: payment.received\n",
    "too little in": "     topic: a\n    extra: b\n   topic: c\n",
    "no colon": "      topic payment.received\n      b: c\n",
    "two colons": "      topic: a: b\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("place", ["first", "last", "alone"])
def test_what_is_no_yaml_hides_nothing_of_the_functions_around_it(stack, text, place):
    broken = f"  broken:\n    annotations:\n{text}"
    parts = {"first": [broken, GOOD, BAD], "last": [BAD, GOOD, broken], "alone": [broken]}[place]
    path = stack(HEAD + "".join(parts))
    found = findings(path)
    [no_yaml] = [each for each in found if "no YAML: " in each]
    assert "; 'broken' is not read until then" in no_yaml
    if place != "alone":
        others = [each.split(": ")[1] for each in found if each != no_yaml]
        assert others == ["bad", "bad"]


def test_each_function_that_is_no_yaml_is_a_mistake(stack):
    first, second = (f"  {name}:\n    annotations: {{topic: [a}}\n" for name in "ab")
    found = findings(stack(HEAD + first + BAD + second))
    assert [each.split(":")[1] for each in found] == ["5", "12", "13", "16"]


def test_a_top_level_field_that_is_no_yaml_hides_no_function(stack):
    path = stack(HEAD.replace("openfaas", "'openfaas") + BAD)
    assert [each.split(":")[1] for each in findings(path)] == ["2", "10", "11"]


def test_a_bad_substitution_hides_no_annotation(stack):
    path = stack(HEAD + GOOD.replace("good:latest", "good:${TAG") + BAD)
    first, *others = findings(path)
    assert first.startswith(f"{path}:7: a closing brace is missing")
    assert len(others) == 2


def test_schedules_are_checked_as_the_cron_source_takes_them(stack):
    path = stack(
        HEAD + GOOD
        + "      schedule: 'CRON_TZ=Europe/Berln 0 8 * * *'\n"
        + BAD.replace("topic: payment.received", "schedule: 0 0 30 2 *")
    )  # fmt: skip
    found = findings(path)
    assert "schedule: there is no time zone 'Europe/Berln'; did you mean 'Europe/Be" in found[0]
    assert "schedule: never fires: no month of '2' has a day 30" in found[1]


def test_a_schedule_without_its_topic_is_pointed_out(stack, capsys):
    scheduled = HEAD + GOOD + "      schedule: '@daily'\n"
    assert run(["check", "--stack", stack(scheduled)]) == 0
    said = "refused; its schedule is followed with the topic cron-function only\n"
    assert said in capsys.readouterr().out
    fired = scheduled.replace("payment.received,", "cron-function,")
    assert run(["check", "--stack", stack(fired)]) == 0
    assert "only" not in capsys.readouterr().out


def test_the_command_shows_the_mistakes_of_file_and_annotations_together(stack, capsys):
    path = stack(HEAD + GOOD + BAD + "    secrets: key\n")
    assert run(["check", "--stack", path]) == 1
    captured = capsys.readouterr()
    lines = [line for line in captured.out.splitlines() if line.startswith(f"{path}:")]
    assert [line.split(":")[1] for line in lines[:-1]] == ["17", "18", "20"]
    assert captured.err == f"Error: {path} has 3 mistakes; mend the lines above\n"


def test_a_command_that_runs_the_stack_says_how_to_see_the_other_mistakes(stack, capsys):
    path = stack(WRONG)
    assert run(["gateway", "--port", "0", "--stack", path]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"Error: {path}:1: version is '2.0'")
    assert f"and 10 more, see: faas-connector check --stack {path}" in error
    assert error.count("\n") == 1


def test_the_command_needs_no_gateway_settings(stack, monkeypatch, capsys):
    monkeypatch.setenv("OPENFAAS_URL", "no url")
    monkeypatch.setenv("topic_delimiter", ";")
    path = stack(HEAD + GOOD.replace("received,", "received;"))
    assert run(["check", "--stack", path]) == 0
    assert "payment.received, payment.refused" in capsys.readouterr().out


def test_a_file_that_is_no_stack(stack, capsys):
    path = stack("functions:\n  - [\n")
    assert run(["check", "--stack", path]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{path}:1: provider.name is ''")
    assert f"{path}:3: no YAML: " in captured.out
    assert captured.err == f"Error: {path} has 2 mistakes; mend the lines above\n"


def test_a_file_of_settings_is_recognised(stack, capsys):
    path = stack("version: 1\nsources: [{timer: {}}]\n")
    assert run(["check", "--stack", path]) == 1
    assert capsys.readouterr().err == (
        f"Error: {path}:2: this is a file of settings for run, which names sources, not functions; "
        f"check it with faas-connector check -f {path}\n"
    )


def test_a_file_that_is_no_yaml_at_all(stack, capsys):
    path = stack("\x01")
    assert run(["check", "--stack", path]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"Error: {path}:1: no YAML")
    assert error.count("\n") == 1


def test_a_file_that_is_not_there(capsys):
    assert run(["check", "--stack", "/nowhere/stack.yaml"]) == 2
    assert "there is no file '/nowhere/stack.yaml'" in capsys.readouterr().err
