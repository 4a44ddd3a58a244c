"""What several tests need: the golden checkpoints of the repository."""

import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


def golden_images():
    """Every golden image that has a JSON beside it."""
    return sorted(
        (image, image.parent / "json" / (image.stem + ".json"))
        for image in GOLDEN.glob("*/*.img")
        if (image.parent / "json" / (image.stem + ".json")).exists()
    )


def named(pair):
    return f"{pair[0].parent.name}-{pair[0].stem}"


@pytest.fixture(scope="session")
def golden():
    return GOLDEN


@pytest.fixture
def crit(tmp_path):
    """Runs crit as a command."""

    def run(*args, status=0, **options):
        done = subprocess.run([sys.executable, "-m", "crit", *map(str, args)], capture_output=True, **options)
        assert done.returncode == status, (done.stdout[-500:], done.stderr)
        assert b"Traceback" not in done.stderr and b"panicked" not in done.stderr
        return done

    return run
