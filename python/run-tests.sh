#!/bin/sh
# Builds the wheels, installs them into a fresh virtual environment outside the tree, and runs the tests there.
# Arguments go to pytest; the last line is pytest's.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

"$python" -m venv "$room/venv"
PATH="$room/venv/bin:$PATH"
export PATH
pip="$room/venv/bin/pip --quiet --disable-pip-version-check"
$pip install 'maturin>=1.7,<2' 'setuptools>=70.1' pytest 'protobuf>=3.20'
$pip install numpy || echo "numpy cannot be installed; what needs it is skipped"
$pip wheel --no-build-isolation --no-deps --wheel-dir "$room/wheels" "$here"
cp -r "$here/crit" "$room/crit"
$pip wheel --no-build-isolation --no-deps --wheel-dir "$room/wheels" "$room/crit"
$pip install --no-deps "$room"/wheels/*.whl
# From a folder in which `pycriu` is not the source.
cd "$room"
"$room/venv/bin/pytest" -p no:cacheprovider -c "$here/pyproject.toml" --rootdir "$here/tests" "$here/tests" "$@"
