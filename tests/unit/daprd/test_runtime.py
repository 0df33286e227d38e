"""What runs beside everything else in a sidecar."""

import asyncio
import contextlib
from pathlib import Path
from typing import cast

from pydapr.daprd import flags
from pydapr.daprd.runtime import Runtime
from pydapr.observe import logging


async def test_work_that_ends_by_a_fault_is_told(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def renew() -> None:
        try:
            raise RuntimeError("out of certificates")
        finally:
            ended.set()

    file = tmp_path / "log"
    logging.configure(file=str(file))
    try:
        async with contextlib.AsyncExitStack() as stack:
            Runtime(cast(flags.Settings, None), asyncio.Event())._run_beside(renew(), stack)
            await asyncio.wait_for(ended.wait(), 10)
            await asyncio.sleep(0)
    finally:
        logging.configure()

    assert "renew" in file.read_text()
    assert "out of certificates" in file.read_text()
