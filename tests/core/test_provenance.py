"""Which commit a result says that it comes from."""

import subprocess
from pathlib import Path

import pytest

from vmail_core.provenance import git_commit


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one commit that holds code.py and results/table.md."""
    for name in ("code.py", "results/table.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("first")
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_code_that_changed_is_dirty_and_results_that_a_study_writes_are_not(checkout):
    commit = git_commit(checkout)
    assert len(commit) == 12
    (checkout / "results" / "table.md").write_text("second")
    assert git_commit(checkout) == commit
    (checkout / "code.py").write_text("second")
    assert git_commit(checkout) == f"{commit}-dirty"


def test_outside_a_checkout_the_commit_is_unknown(tmp_path):
    assert git_commit(tmp_path) == "unknown"
