"""Which folder a run keeps its state in."""

from pathlib import Path

import pytest

from faas_connector import running


@pytest.mark.parametrize("state", [Path(), "."])
async def test_the_folder_where_one_stands_is_not_the_user_s_own(state, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "own"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    async with running._store(state, 1.0) as store:
        assert store.folder.resolve() == here
    assert not (tmp_path / "own").exists()


async def test_a_run_that_is_told_nothing_takes_the_user_s_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "own"))
    async with running._store(running._OWN_STATE, 1.0) as store:
        assert store.folder.is_relative_to(tmp_path / "own")


async def test_none_is_no_store(tmp_path):
    async with running._store(None, 1.0) as store:
        assert store is None
