"""The habits that .ci/run keeps, where developers see them: in the ordinary test run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="only on posix checkouts: .ci is not shipped here")


def said_by(*command: str | Path, cwd: Path = ROOT, **environment: str) -> tuple[int, str]:
    """Exit code and words of a command."""
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment})
    return done.returncode, done.stdout + done.stderr
