import platform
import resource
import subprocess
import sys

import pytest

PROBE = """
import resource, sys, torch
from vmail_core.learners.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for _ in range(3):
    torch.ones(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_kept_memory_is_not_fetched_anew_from_the_kernel():
    faults = {}
    for mode in ("default", "kept"):
        done = subprocess.run([sys.executable, "-c", PROBE, mode], check=True, capture_output=True, text=True)
        faults[mode] = int(done.stdout)
    pages = 20 * (32 << 20) // resource.getpagesize()
    assert faults["kept"] < pages / 2 < faults["default"], faults
