"""The `/system` routes and their JSON: sections 4 and 10."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import pytest

from faas_connector._version import __version__
from faas_connector.testing import LocalGateway

from .functions import seen
from .wire import (
    PLAIN,
    Client,
)


class TestSystem:
    """Section 4, and the shapes of section 10."""

    @pytest.mark.parametrize("query", ["", "?namespace=", "?namespace=openfaas-fn"])
    async def test_a_list_is_of_one_namespace(self, call: Client, query: str) -> None:
        response = await call(f"GET /system/functions{query}")
        assert (response.status, response["Content-Type"]) == (200, "application/json")
        listed = json.loads(response.body)
        assert {item["namespace"] for item in listed} == {"openfaas-fn"}
        assert [item["name"] for item in listed] == sorted(item["name"] for item in listed)

    async def test_an_unknown_namespace_ends_in_two_line_ends(self, call: Client) -> None:
        response = await call("GET /system/functions?namespace=nope")
        assert (response.status, response.body) == (400, b"namespace not valid\n\n")

    async def test_what_is_empty_is_left_out(self, call: Client) -> None:
        listed = json.loads((await call("GET /system/functions?namespace=staging-fn")).body)
        created = listed[0].pop("createdAt")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", created)
        assert listed == [
            {
                "name": "echo",
                "image": "local/echo",
                "namespace": "staging-fn",
                "replicas": 1,
                "availableReplicas": 1,
            }
        ]

    async def test_replicas_are_missing_at_zero(self, call: Client) -> None:
        described = seen(await call("GET /system/function/asleep"))
        assert "replicas" not in described
        assert "availableReplicas" not in described

    async def test_calls_are_counted_in_the_list(self, call: Client) -> None:
        await call("POST /function/echo")
        await call("POST /function/echo.openfaas-fn")
        listed = json.loads((await call("GET /system/functions")).body)
        counts = {item["name"]: item.get("invocationCount") for item in listed}
        assert (counts["echo"], counts["own"]) == (2, None)

    async def test_describing_what_is_absent_is_404_without_a_body(self, call: Client) -> None:
        response = await call("GET /system/function/absent")
        assert (response.status, response.body) == (404, b"")

    async def test_deploy_update_and_delete(self, call: Client) -> None:
        body = json.dumps(
            {
                "service": "new",
                "image": "an/image",
                "labels": {},
                "annotations": {"topic": "t"},
                "envVars": {"A": "1"},
                "limits": {"memory": "1Mi"},
                "readOnlyRootFilesystem": True,
                "secrets": None,
            }
        )
        absent = await call("PUT /system/functions", body=body)
        assert absent.status == 404
        assert absent.body
        created = await call("POST /system/functions", body=body)
        assert (created.status, created.body) == (202, b"")
        described = seen(await call("GET /system/function/new"))
        assert described["annotations"] == {"topic": "t"}
        assert described["envVars"] == {"A": "1"}
        assert described["limits"] == {"memory": "1Mi"}
        assert described["readOnlyRootFilesystem"] is True
        assert "replicas" not in described, "nothing here runs the image"
        assert (await call("POST /system/functions", body=body)).status == 500
        assert (await call("PUT /system/functions", body=body)).status == 202
        delete = '{"functionName":"new"}'
        gone = await call("DELETE /system/functions", body=delete)
        assert (gone.status, gone.body) == (202, b"")
        assert (await call("DELETE /system/functions", body=delete)).status == 404

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    @pytest.mark.parametrize("body", ["", "{", "[]", "null", "{}", '{"service": 1}', "[" * 5000])
    async def test_bad_json_is_400(self, call: Client, method: str, body: str) -> None:
        assert (await call(f"{method} /system/functions", body=body)).status == 400

    async def test_an_image_is_required(self, call: Client) -> None:
        response = await call("POST /system/functions", body='{"service": "x"}')
        assert response.status == 400

    @pytest.mark.parametrize(("asked", "given"), [(0, 1), (3, 3), (99, 5), (-1, 1)])
    async def test_replicas_are_clamped(self, call: Client, asked: int, given: int) -> None:
        body = json.dumps({"serviceName": "echo", "replicas": asked})
        assert (await call("POST /system/scale-function/echo", body=body)).status == 202
        assert seen(await call("GET /system/function/echo"))["replicas"] == given

    async def test_scaling_what_is_absent_or_unreadable(self, call: Client) -> None:
        body = '{"serviceName":"absent","replicas":1}'
        assert (await call("POST /system/scale-function/absent", body=body)).status == 404
        bad = await call("POST /system/scale-function/echo", body="{")
        assert (bad.status, bad.body) == (400, b"Error unmarshalling request body\n")

    async def test_namespaces(self, call: Client) -> None:
        response = await call("GET /system/namespaces")
        assert json.loads(response.body) == ["c", "openfaas-fn", "staging-fn"]
        body = '{"name":"dev","labels":{"openfaas":"1"},"annotations":{"openfaas":"1"}}'
        assert (await call("POST /system/namespace/", body=body)).status == 201
        assert (await call("POST /system/namespace/", body=body)).status == 409
        assert seen(await call("GET /system/namespace/dev")) == json.loads(body)
        assert (await call("PUT /system/namespace/dev", body='{"name":"dev"}')).status == 202
        assert seen(await call("GET /system/namespace/dev")) == {"name": "dev"}
        assert (await call("DELETE /system/namespace/dev", body='{"name":"dev"}')).status == 202
        absent = await call("GET /system/namespace/dev")
        assert absent.status == 404
        assert absent.body

    async def test_secrets_come_in_and_never_out(self, call: Client) -> None:
        add = '{"name":"key","value":"hush"}'
        assert (await call("POST /system/secrets", body=add)).status == 202
        raw = '{"name":"raw","rawValue":"aHVzaA=="}'
        assert (await call("POST /system/secrets", body=raw)).status == 202
        listed = await call("GET /system/secrets")
        assert json.loads(listed.body) == [
            {"name": "key", "namespace": "openfaas-fn"},
            {"name": "raw", "namespace": "openfaas-fn"},
        ]
        change = '{"name":"key","value":"other"}'
        assert (await call("PUT /system/secrets", body=change)).status == 202
        assert (await call("DELETE /system/secrets", body='{"name":"key"}')).status == 202
        assert (await call("DELETE /system/secrets", body='{"name":"key"}')).status == 404
        assert (await call("PUT /system/secrets", body=change)).status == 404
        assert (await call("POST /system/secrets", body="{")).status == 400

    async def test_logs_are_ndjson_as_plain_text(self, call: Client) -> None:
        await call("POST /function/status/999x")  # the handler raises
        response = await call("GET /system/logs?name=status&follow=false&tail=1")
        assert (response.status, response["Content-Type"]) == (200, PLAIN)
        assert response["Transfer-Encoding"] == "chunked"
        [line] = response.body.splitlines()
        entry = json.loads(line)
        assert entry.keys() == {"name", "namespace", "instance", "timestamp", "text"}
        assert (entry["name"], entry["namespace"]) == ("status", "openfaas-fn")
        assert "ValueError" in entry["text"]
        everything = await call("GET /system/logs?name=status&tail=-1")
        assert len(everything.body.splitlines()) > 1
        since = entry["timestamp"].replace("+", "%2B")
        assert await call(f"GET /system/logs?name=status&since={since}")

    @pytest.mark.parametrize("query", ["follow=maybe", "tail=x", "since=yesterday"])
    async def test_a_bad_log_request(self, call: Client, query: str) -> None:
        response = await call(f"GET /system/logs?name=echo&{query}")
        assert (response.status, response.body) == (500, b"unknown log request error (400)\n")

    async def test_info(self, call: Client) -> None:
        info = seen(await call("GET /system/info"))
        assert info.keys() == {"provider", "version", "arch"}
        assert info["provider"].keys() == {"provider", "version", "orchestration"}
        assert info["version"] == {"sha": "local", "release": __version__}

    async def test_health(self, call: Client) -> None:
        response = await call("GET /healthz")
        assert (response.status, response.body) == (200, b"")

    @pytest.mark.parametrize("body", ["", "x", "[]"])
    async def test_a_bad_alert(self, call: Client, body: str) -> None:
        response = await call("POST /system/alert", body=body)
        assert (response.status, response.body) == (
            400,
            b"Unable to parse alert, bad format.",
        )

    async def test_alerts_scale(self, call: Client) -> None:
        empty = await call("POST /system/alert", body="{}")
        assert (empty.status, empty.body) == (200, b"")

        async def alert(state: str, name: str) -> int:
            body = {"alerts": [{"status": state, "labels": {"function_name": name}}]}
            return (await call("POST /system/alert", body=json.dumps(body))).status

        assert await alert("firing", "absent.openfaas-fn") == 200
        for replicas in (2, 3, 4, 5, 5):
            assert await alert("firing", "echo.openfaas-fn") == 200
            assert seen(await call("GET /system/function/echo"))["replicas"] == replicas
        assert await alert("resolved", "echo.openfaas-fn") == 200
        assert seen(await call("GET /system/function/echo"))["replicas"] == 1


class TestEditionCE:
    """The limits of the community edition (4.3)."""

    @pytest.fixture
    async def ce(self) -> AsyncIterator[Client]:
        async with LocalGateway(edition="ce", allow_deploy=True) as gateway:
            yield Client(gateway)

    @pytest.mark.parametrize(
        ("name", "annotations"),
        [
            ("Upper", {}),
            ("dot.ted", {}),
            ("two-topics", {"topic": "a,b"}),
            ("aws", {"eks.amazonaws.com/role": "x"}),
            ("gke", {"gke.io/x": "y"}),
        ],
    )
    async def test_what_is_refused(
        self, ce: Client, name: str, annotations: dict[str, str]
    ) -> None:
        body = {"service": name, "image": "i", "annotations": annotations}
        response = await ce("POST /system/functions", body=json.dumps(body))
        assert response.status == 400

    async def test_fifteen_functions_at_most(self, ce: Client) -> None:
        for number in range(16):
            body = json.dumps({"service": f"f{number}", "image": "i"})
            response = await ce("POST /system/functions", body=body)
            assert response.status == (202 if number < 15 else 403)

    async def test_one_namespace(self, ce: Client) -> None:
        response = await ce("GET /system/functions?namespace=other")
        assert (response.status, response.body) == (400, b"namespace must be: openfaas-fn\n\n")
        made = await ce("POST /system/namespace/", body='{"name":"other"}')
        assert made.status == 501

    async def test_without_it_none_of_this_is_refused(self) -> None:
        async with LocalGateway(allow_deploy=True) as gateway:
            body = {"service": "Two.Topics", "image": "i", "annotations": {"topic": "a,b"}}
            client = Client(gateway)
            response = await client("POST /system/functions", body=json.dumps(body))
            assert response.status == 202
