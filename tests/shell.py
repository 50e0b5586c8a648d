"""The commands as a user runs them, in a process of their own."""

import os
import subprocess
import sys

from compfeat.commands.launch import CONF

ROOT = CONF.parent


def command(script, *arguments, cache, code=0, cwd=ROOT):
    environment = os.environ | {"COMPFEAT_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    environment.pop("HYDRA_FULL_ERROR", None)
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done
