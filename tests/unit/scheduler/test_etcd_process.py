"""An etcd that is started as a child: what it is told, and what is said when it does not run."""

import asyncio
from pathlib import Path

import pytest

from pydapr.controlplane.process import Fatal
from pydapr.scheduler import etcd_process

HELP = "echo '  --name x'; echo '  --optional x'; exit 0"


def fake(folder: Path, body: str) -> str:
    """A program that answers --help, and otherwise does `body`."""
    file = folder / "etcd"
    file.write_text(f'#!/bin/sh\nif [ "$1" = --help ]; then {HELP}; fi\n{body}\n')
    file.chmod(0o755)
    return str(file)


def options(folder: Path) -> etcd_process.Options:
    return etcd_process.Options(
        name="s-0",
        folder=str(folder / "data"),
        marker_folder=str(folder),
        initial_cluster=["s-0=http://a:1"],
        peer_url="http://a:1",
        listen_on_all=True,
        client_url="http://localhost:2",
        settings=[("metrics", "basic")],
        optional=[("optional", "7"), ("unknown", "8")],
    )


def read(file: Path) -> str:
    """The whole line of a file; empty when it is not there yet."""
    text = file.read_text() if file.exists() else ""
    return text if text.endswith("\n") else ""


async def test_it_is_told_what_it_knows_and_ends_with_who_started_it(tmp_path: Path) -> None:
    body = f"""trap "echo bye > {tmp_path}/ended; exit" TERM
        echo "$@" > {tmp_path}/told
        echo '{{"level":"error","msg":"I run"}}'
        sleep 60 > {tmp_path}/sleeping 2>&1 & wait"""
    etcd = etcd_process.Etcd(fake(tmp_path, body), options(tmp_path))
    running = asyncio.create_task(etcd.run())

    async with asyncio.timeout(20):
        while not etcd.complaint:  # noqa: ASYNC110 - another process says it
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait((running,))

    told = read(tmp_path / "told").split()
    assert "--listen-peer-urls=http://0.0.0.0:1" in told and "--initial-advertise-peer-urls=http://a:1" in told
    assert "--optional=7" in told and "--unknown=8" not in told and "--metrics=basic" in told
    assert read(tmp_path / "ended") == "bye\n"
    assert (tmp_path / etcd_process.MARKER).exists()


async def test_its_last_complaint_is_the_reason_when_it_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_process, "START_SECONDS", 0.0)
    lines = ['{"level":"fatal","msg":"cannot","error":"it is broken"}', '{"level":"info","msg":"closed"}']
    program = fake(tmp_path, "\n".join(f"echo '{line}'" for line in lines) + "\nexit 3")

    with pytest.raises(Fatal, match="etcd has ended with code 3: cannot: it is broken"):
        await etcd_process.Etcd(program, options(tmp_path)).run()


async def test_a_program_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "etcd").write_text("")

    with pytest.raises(Fatal, match=r"cannot run .*etcd: "):
        await etcd_process.Etcd(str(tmp_path / "etcd"), options(tmp_path)).run()
