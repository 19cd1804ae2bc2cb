#!/bin/sh
# Makes .venv from the lock: `envs/setup.sh run` or `envs/setup.sh test`. Where a stamp says it is done, it does nothing.
set -eu
cd "$(dirname "$0")/.."
group=$1

say() { printf 'set-up: %s\n' "$*"; }
fail() {
    printf 'set-up: %s\n' "$*" >&2
    exit 2
}

# The folder is part of the key because scripts in .venv/bin name it: a moved checkout must not run the old one's code.
key() { { pwd -P && cat "envs/$1.txt" pyproject.toml; } | sha256sum | cut -c1-12; }
stamp=.venv/.$group-$(key "$group")
[ -e "$stamp" ] && [ -x .venv/bin/python ] && exit 0

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3}; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    found=$("${PYTHON:-python3}" --version 2>&1 | head -n 1) || found='no Python'
    fail "${PYTHON:-python3} is ${found}; mpno needs Python 3.11 or newer with its venv module: install one, or name one as in 'make PYTHON=/usr/bin/python3.12'"
}

[ "$(uname -sm)" = 'Linux x86_64' ] || fail "this is $(uname -sm); the lock holds Linux x86_64 packages alone: install the library with 'pip install .' instead"

started=$(date +%s)
here=$(pwd -P)
if ! usable .venv/bin/python || ! grep -qF "$here/.venv" .venv/bin/activate 2>/dev/null; then
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv || fail "$python could not make .venv; on Debian and Ubuntu install its python3-venv package"
fi

# A set-up cut short leaves packages that look installed; this file marks one in progress.
if [ -e .venv/.unfinished ]; then
    say 'the last set-up did not finish: checking what it left'
    .venv/bin/python -I envs/mend.py .venv/lib/python3.*/site-packages
fi
: >.venv/.unfinished

say "installing the $(grep -c == "envs/$group.txt") packages of the $group group into .venv, once"
set -- .venv/lib/python3.*/site-packages/torch
[ -e "$1" ] || say 'torch is the CUDA build: 3 GB to download, 6 GB on disk; about 4 minutes on a fast line'
[ -t 1 ] && quiet= || quiet=--quiet
pip_install() {
    # PIP_ARGS holds several words.
    # shellcheck disable=SC2086
    .venv/bin/python -m pip install $quiet --disable-pip-version-check --no-input "$@" ${PIP_ARGS:-} ||
        fail "pip could not install the $group group (its message is above): mend that and call again; options go to pip as in 'make PIP_ARGS=...'"
}
pip_install --require-hashes -r "envs/$group.txt"
pip_install --no-build-isolation --no-deps -e .

rm -f ".venv/.$group-"* .venv/.unfinished
: >"$stamp"
if [ "$group" = test ]; then
    rm -f .venv/.run-*
    : >".venv/.run-$(key run)" # the test group holds the run group
fi
say "done in $(($(date +%s) - started)) s"
