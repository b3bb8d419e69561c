#!/bin/sh
# What one does without reespack, each tool at its default: lock, install, pip's half, pack.
#
#   peer_build.sh PYTHON INPUT WORK PACKAGE_CACHE PLATFORM
#
# PYTHON's folder has conda-lock and conda-pack; INPUT holds environment.yml, requirements.txt,
# virtual-packages.yml and conda (which solves); WORK is empty and gets env/ and env.tar.gz.
set -eu
python=$1 input=$2 work=$3 packages=$4 platform=$5
bin=$(dirname "$python")
here=$(dirname "$0")
cd "$work"
"$bin/conda-lock" lock --conda "$input/conda" --file "$input/environment.yml" \
    --platform "$platform" --virtual-package-spec "$input/virtual-packages.yml" \
    --lockfile conda-lock.yml
"$python" "$here/rattler_install.py" conda-lock.yml env "$packages"
"$bin/uv" pip compile --quiet --python env/bin/python --generate-hashes \
    "$input/requirements.txt" --output-file requirements.txt
"$bin/uv" pip install --quiet --python env/bin/python --require-hashes \
    --requirement requirements.txt
"$bin/conda-pack" --quiet --prefix env --output env.tar.gz
