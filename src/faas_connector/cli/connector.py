"""What `run` and `check -f` make of their settings: a connector that delivers."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from faas_connector.cli.connection import Connection, GatewayFlags, connection
from faas_connector.config import ControllerConfig
from faas_connector.controller import Controller
from faas_connector.engine import NoStoreError, check_policies
from faas_connector.errors import ConfigError
from faas_connector.observability.admin import serve_admin
from faas_connector.response import LogResponses
from faas_connector.runnables import served
from faas_connector.running import until_signalled
from faas_connector.settings.connector import ConnectorSettings, connector_options
from faas_connector.settings.loading import Given, Loaded, load
from faas_connector.store import Store
from faas_connector.stores.sqlite import SqliteStore

_log = logging.getLogger("faas_connector.run")

NO_STORE = "none"
"""The folder that means no store at all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A connector that could be run."""

    loaded: Loaded
    connection: Connection

    @property
    def config(self) -> ControllerConfig:
        return self.connection.config


def connector_of(flags: GatewayFlags, given: Given) -> Plan:
    """Sources, settings and the gateway, from flags, the environment and a file.

    Raises:
        ConfigError: some of it can't work; the message says where it stands.
    """
    loaded = load(given)
    found = connection(
        flags,
        given.environ,
        home=Path.home(),
        folder=Path.cwd(),
        read_password=sys.stdin.read,
        settings=loaded.general,
    )
    return Plan(loaded, found)


def check_promises(plan: Plan) -> None:
    """Refuse what can't be kept without a store; the advice is for those who write settings.

    Raises:
        ConfigError: what the sources promise, and what the policies ask for, can't be had.
    """
    runnables = [each.runnable for each in plan.loaded.sources]
    store = store_of(plan.loaded.settings)
    try:
        check_policies(served(runnables, plan.config), plan.config, store)
    except NoStoreError as error:
        why = str(error).partition(";")[0]  # what follows the mark is advice for programs
        advice = f"name a folder with {_ways('state', 'folder')}"
        if error.policy:
            advice += f", or let {_ways('defaults', error.policy)} be {error.values}"
        raise ConfigError(f"{why}; {advice}") from None


def _ways(*path: str) -> str:
    """How an option of every run can be given."""
    option = next(each for each in connector_options() if each.path == path)
    return f"{option.name} (--{option.flag}, ${option.variable()})"


async def deliver(plan: Plan) -> bool:
    """Run it until its sources end or a signal comes; whether all that was read is settled.

    Raises:
        ConfigError: what its sources promise can't be kept.
    """
    check_promises(plan)
    settings = plan.loaded.settings
    controller = Controller(plan.config)
    log = settings.log
    if log.responses or log.response_body or log.request_body:
        controller.subscribe(
            LogResponses(request_body=log.request_body, response_body=log.response_body)
        )

    async def work() -> bool:
        async with (
            _admin(settings, controller),
            open_store(settings) as store,
            controller,
        ):
            return await controller.run(
                *(each.runnable for each in plan.loaded.sources), store=store
            )

    return await until_signalled(work(), controller.stop)


def _admin(
    settings: ConnectorSettings, controller: Controller
) -> AbstractAsyncContextManager[object]:
    """The admin port, where the settings want one: first of all, for it tells of the start."""
    if settings.admin is None:
        return contextlib.nullcontext()
    return serve_admin(settings.admin, controller.report)


def store_of(settings: ConnectorSettings, *, lock_wait: float | None = None) -> SqliteStore | None:
    """The pending store; nothing of it is touched yet. None where the settings want none."""
    state = settings.state
    if state.folder == NO_STORE:
        return None
    wait = state.wait if lock_wait is None else lock_wait
    return SqliteStore(state.folder, lock_wait=wait, max_journal_bytes=state.max_journal_bytes)


@asynccontextmanager
async def open_store(settings: ConnectorSettings) -> AsyncGenerator[Store | None]:
    """The pending store while it is open; None where the settings want none."""
    store = store_of(settings)
    if store is None:
        yield None
        return
    async with store:
        _log.info("state folder: %s", store.folder)
        yield store
