"""A bundle is whole, unchanged and made for this robot, or it is refused with the file's name."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest

from vmail_core.deploy.bundle import CERTIFICATE, GRAPHS, MANIFEST, BundleError, building, load_bundle, seal

FILES = (*GRAPHS, CERTIFICATE, MANIFEST)


@pytest.fixture
def copy(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "copy"))


def flip_byte(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x04
    path.write_bytes(data)


def test_loads_what_was_written(bundle_folder, robot):
    bundle = load_bundle(bundle_folder)
    assert bundle.robot.digest() == robot.digest()
    assert dataclasses.astuple(bundle.sizes)[2:] == (32, 8, 9, 0)
    assert bundle.training["demos"] == ["demo_0", "demo_1"]
    assert bundle.training["config"]["model"]["depth"] == 4
    assert sorted(p.name for p in bundle_folder.iterdir()) == sorted(FILES)


def test_a_moved_bundle_still_loads(copy, bundle_folder):
    assert load_bundle(copy).digest == load_bundle(bundle_folder).digest


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_one_flipped_bit_is_refused_and_its_file_named(copy, name, where):
    path = copy / name
    flip_byte(path, int(where * path.stat().st_size))
    with pytest.raises(BundleError, match=name):
        load_bundle(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: missing"):
        load_bundle(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(copy, name):
    path = copy / name
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(BundleError, match=name):
        load_bundle(copy)


def test_no_folder_names_the_next_step(tmp_path):
    with pytest.raises(BundleError, match="vmail export"):
        load_bundle(tmp_path / "nothing")


@pytest.mark.parametrize("key", ["sizes", "robot", "files", "digest", "training", "control_rate_hz"])
def test_a_manifest_without_a_field_is_refused(copy, key):
    manifest = json.loads((copy / MANIFEST).read_text())
    del manifest[key]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=key):
        load_bundle(copy)


def test_another_format_version_is_refused(copy):
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**manifest, "format_version": 99}))
    with pytest.raises(BundleError, match="format version 99, this vmail reads 1 and 2"):
        load_bundle(copy)


def test_pictures_alone_keep_the_first_format_version(copy):
    assert json.loads((copy / MANIFEST).read_text())["format_version"] == 1


def test_another_robot_is_refused_and_the_difference_named(bundle_folder, robot):
    bundle = load_bundle(bundle_folder)
    bundle.require_robot(robot)
    slower = dataclasses.replace(robot, max_joint_speed=1.0)
    with pytest.raises(BundleError, match="max_joint_speed"):
        bundle.require_robot(slower)


def test_a_hand_that_only_its_servos_tell_apart_is_accepted(bundle_folder, robot):
    changes = {"name": "left", "servo_ids": tuple(range(9)), "zero_rad": robot.zero_rad + 0.1, "max_current_ma": 300.0}
    load_bundle(bundle_folder).require_robot(dataclasses.replace(robot, **changes))


def test_a_bundle_whose_certificate_failed_is_refused(copy):
    draft = dataclasses.replace(load_bundle(copy), certificate={"passed": False})
    with pytest.raises(BundleError, match="certificate"):
        seal(draft)


def test_an_existing_bundle_is_replaced_only_when_asked(copy):
    with pytest.raises(FileExistsError, match="exists"), building(copy):
        pytest.fail("must not begin")
    with building(copy, overwrite=True) as folder:
        (folder / MANIFEST).write_text("new")
    assert [p.name for p in copy.iterdir()] == [MANIFEST]
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]


def test_a_folder_that_is_no_bundle_is_never_overwritten(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="not a bundle"), building(tmp_path / "home", overwrite=True):
        pytest.fail("must not begin")
    assert (tmp_path / "home" / "thesis.tex").exists()


def test_a_failure_half_way_leaves_the_old_bundle_and_nothing_else(copy, bundle_folder):
    with pytest.raises(RuntimeError), building(copy, overwrite=True) as folder:
        (folder / MANIFEST).write_text("half")
        raise RuntimeError("disk full")
    assert load_bundle(copy).digest == load_bundle(bundle_folder).digest
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]
