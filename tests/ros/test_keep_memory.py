"""A process that frees pictures keeps their memory, so that new ones cost no page faults."""

from __future__ import annotations

import subprocess
import sys

import pytest

PICTURES, BYTES, PAGE = 20, 640 * 480 * 3, 4096
PROGRAM = f"""
import resource, sys
from vmail_nodes.realtime import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
def pictures():
    for _ in range({PICTURES}):
        held = [bytearray(b"x") * {BYTES} for _ in range(3)]
        del held
pictures()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
pictures()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize("kept", [True, False])
def test_a_new_picture_costs_page_faults_only_where_memory_is_not_kept(kept: bool) -> None:
    command = [sys.executable, "-c", PROGRAM, "kept" if kept else "given back"]
    faults = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    pages = PICTURES * BYTES // PAGE
    assert faults < pages / 50 if kept else faults > pages / 2
