"""The commands as a user runs them: in a process of their own, or, in far less time, in that of the tests."""

import logging
import os
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from unittest.mock import patch

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


def in_this_process(script, *arguments, cache, code=0):
    """What ``command`` gives, of a call that ends before it does anything that stays."""
    out, err, left = StringIO(), StringIO(), 0
    handlers = logging.root.handlers[:]  # which Hydra replaces
    with patch.dict(os.environ, COMPFEAT_CACHE=str(cache)), patch.object(sys, "argv", [script, *arguments]):
        os.environ.pop("HYDRA_FULL_ERROR", None)
        with redirect_stdout(out), redirect_stderr(err):
            try:
                runpy.run_path(str(ROOT / script), run_name="__main__")
            except SystemExit as error:
                left = error.code
            finally:
                logging.root.handlers[:] = handlers
    done = subprocess.CompletedProcess([script, *arguments], left, out.getvalue(), err.getvalue())
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done
