"""Builds the wheel: the library that is the worker by cargo, then everything else by maturin."""

import os
import shutil
import subprocess
from pathlib import Path

import maturin
from maturin import build_sdist, get_requires_for_build_sdist, get_requires_for_build_wheel  # noqa: F401
from maturin import prepare_metadata_for_build_wheel  # noqa: F401

PACKAGE = Path(__file__).resolve().parent.parent / "pycriu"
WORKSPACE = PACKAGE.parent.parent


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    place_worker()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    place_worker()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)


def place_worker():
    """Puts libcriu.so.2 into the package, without its symbols of debugging."""
    subprocess.run(["cargo", "build", "--release", "--locked", "-p", "criu-capi"], cwd=WORKSPACE, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or WORKSPACE / "target")
    built = WORKSPACE / target / "release" / "libcriu.so"
    worker = PACKAGE / "libcriu.so.2"
    part = worker.with_suffix(".part")
    shutil.copy(built, part)
    if shutil.which("strip"):
        subprocess.run(["strip", "--strip-debug", part], check=True)
    os.replace(part, worker)
