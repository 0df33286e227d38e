"""What a process does around its runtimes."""

import subprocess
import sys

COLLECTOR = """
import gc, os, signal, sys
from pydapr import daprd

seen = []
class Runtime:
    def __init__(self, settings, stop):
        self.stop = stop
        seen.append(gc.isenabled())
    async def run(self):
        seen.append(gc.isenabled() and gc.get_freeze_count() > 10_000)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGHUP)
            await self.stop.wait()
        return 0

import pydapr.daprd.runtime
pydapr.daprd.runtime.Runtime = Runtime
sys.argv = ["daprd", "--app-id", "x"]
try:
    daprd.main()
except SystemExit as end:
    print(end.code, *seen)
"""


def test_the_collector_rests_while_a_process_starts_and_works_from_then_on() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", COLLECTOR], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0 False True True True", done.stderr
