"""Which commit a result says that it comes from."""

import subprocess
from pathlib import Path

import pytest

from vmail_core import provenance


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit that holds code.py and results/table.md; provenance.py says that it lies there."""
    for name in ("code.py", "results/table.md", "vmail_core/provenance.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("first")
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "vmail_core" / "provenance.py"))
    return tmp_path


def test_code_that_changed_is_dirty_and_results_that_a_study_writes_are_not(checkout):
    commit = provenance.git_commit()
    assert len(commit) == 12
    (checkout / "results" / "table.md").write_text("second")
    assert provenance.git_commit() == commit
    (checkout / "code.py").write_text("second")
    assert provenance.git_commit() == f"{commit}-dirty"


def test_outside_a_checkout_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.git_commit() == "unknown"
