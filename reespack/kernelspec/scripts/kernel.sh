#!/bin/sh
# Starts a kernel of the environment that this folder lies in (PREFIX/share/jupyter/kernels/NAME).
# jupyter_client calls it with the kernel's command, where @PREFIX@ stands for the environment.
# `sh launch.sh python -V` runs any other command in the same way.

case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
here=$(CDPATH= cd -P -- "$here" && pwd -P) || exit 127
prefix=${here%/*/*/*/*}
if [ ! -f "$prefix/share/reespack/exec" ]; then
    echo "reespack: the kernelspec $here was copied out of its environment;" >&2
    echo "reespack: make a symbolic link to the folder it came from instead of a copy" >&2
    exit 127
fi
#VARIABLES#
for argument in "$@"; do
    shift
    while :; do
        case $argument in
        *@PREFIX@*) argument=${argument%%@PREFIX@*}$prefix${argument#*@PREFIX@} ;;
        *) break ;;
        esac
    done
    set -- "$@" "$argument"
done
exec /bin/sh "$prefix/share/reespack/exec" "$@"
