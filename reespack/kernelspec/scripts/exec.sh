#!/bin/sh
# PREFIX/share/reespack/exec COMMAND [ARGUMENT]...
#
# Runs COMMAND in the environment that this file lies in: activated as conda does it, and with the
# repository's `start` around it. It needs no PATH, no HOME and no working folder of its own, and it
# ends in `exec` all along, so that a signal reaches COMMAND itself. See docs/kernelspec.md.
#
# Plain POSIX sh and builtins only: before PATH is set there are no commands. activate.d scripts may
# be written for bash, so bash takes over when there is one; -p keeps BASH_ENV and CDPATH out of it
# and leaves them in place for the command.

case $0 in
*/*) reespack_here=${0%/*} ;;
*) reespack_here=. ;;
esac
reespack_prefix=$(CDPATH= cd -P -- "$reespack_here/../.." && pwd -P) || exit 127

if [ $# -eq 0 ]; then
    echo "usage: $0 COMMAND [ARGUMENT]..." >&2
    exit 2
fi

# Without a PATH, a shell makes up one for itself; bash's has `.` in it.
case $(export -p) in
*" PATH="*) PATH=${PATH:-/usr/local/bin:/usr/bin:/bin} ;;
*) PATH=/usr/local/bin:/usr/bin:/bin ;;
esac
export PATH

# A bash that is called `sh` is no bash: it ends where a sourced script fails. `p` in $-: been here.
case ${BASH_VERSION:+bash}$- in
bash*p*) ;;
*)
    for reespack_shell in "$reespack_prefix/bin/bash" /bin/bash /usr/bin/bash /usr/local/bin/bash; do
        if [ -x "$reespack_shell" ]; then
            exec "$reespack_shell" -p -- "$reespack_prefix/share/reespack/exec" "$@"
        fi
    done
    ;;
esac
set +eu

reespack_say() { printf 'reespack: %s\n' "$*" >&2; }

# Each function reads its arguments from variables: a sourced script must not see ours as its own.
reespack_source() {
    # A last command that fails is nothing to report: `[ -n "$X" ] && ...` is how many of them end.
    # dash ends at a syntax error in a sourced file; the trap set below is the way back.
    . "$reespack_script" || :
    set +eu
}

reespack_leave_other() {
    # As `conda activate` does: the environment that is active now goes first.
    for reespack_script in "$CONDA_PREFIX"/etc/conda/deactivate.d/*.sh; do
        [ -f "$reespack_script" ] && reespack_source
    done
    reespack_rest=:$PATH:
    while :; do
        case $reespack_rest in
        *":$reespack_other/bin:"*)
            reespack_rest=${reespack_rest%%":$reespack_other/bin:"*}:${reespack_rest#*":$reespack_other/bin:"}
            ;;
        *) break ;;
        esac
    done
    reespack_rest=${reespack_rest#:}
    PATH=${reespack_rest%:}
}

reespack_path() {
    # Whatever an activation script did to PATH, the environment stays on it.
    case ":${PATH-}:" in
    *":$reespack_prefix/bin:"*) ;;
    *) PATH=$reespack_prefix/bin${PATH:+:$PATH} ;;
    esac
    export PATH
}

reespack_activate() {
    if [ "${REESPACK_ISOLATE-1}" != 0 ]; then
        # Another Python's modules, from `module load` or ~/.local, are not part of this environment.
        unset PYTHONPATH
        export PYTHONNOUSERSITE=1
    fi
    unset PYTHONHOME VIRTUAL_ENV
    reespack_other=${CONDA_PREFIX-}
    if [ -n "$reespack_other" ] && [ "$reespack_other" != "$reespack_prefix" ]; then
        reespack_leave_other
    fi
    case ${PATH-} in
    "$reespack_prefix/bin" | "$reespack_prefix/bin":*) ;;
    *) PATH=$reespack_prefix/bin${PATH:+:$PATH} ;;
    esac
    export PATH
    export CONDA_PREFIX="$reespack_prefix" CONDA_DEFAULT_ENV="$reespack_prefix" CONDA_SHLVL=1
    export NB_PYTHON_PREFIX="$reespack_prefix" KERNEL_PYTHON_PREFIX="$reespack_prefix"
    export REPO_DIR="${REPO_DIR:-$PWD}"
    export REESPACK_PREFIX="$reespack_prefix"
    reespack_script=$reespack_prefix/share/reespack/variables.sh
    [ -f "$reespack_script" ] && reespack_source
    for reespack_script in "$reespack_prefix"/etc/conda/activate.d/*.sh; do
        [ -f "$reespack_script" ] && reespack_source
    done
    reespack_script=
}

reespack_run() {
    trap - EXIT
    [ -n "$reespack_aside" ] && exec >&9 9>&-
    reespack_path
    reespack_start=$reespack_prefix/share/reespack/start
    if [ -z "$reespack_first" ] || [ ! -f "$reespack_start" ]; then
        exec "$@"
    fi
    reespack_line=
    IFS= read -r reespack_line <"$reespack_start"
    case $reespack_line in
    '#!'*sh\ -*l*)
        # A login shell begins with the system's PATH: come back here before the command.
        exec "$reespack_start" /bin/sh "$reespack_prefix/share/reespack/exec" "$@"
        ;;
    '#!'*) exec "$reespack_start" "$@" ;;
    esac
    if [ -n "${BASH_VERSION-}" ]; then
        exec "$BASH" -- "$reespack_start" "$@"
    fi
    exec /bin/sh "$reespack_start" "$@"
}

reespack_survive() {
    reespack_say "$reespack_script ended the activation; what comes after it is left out"
    reespack_script=
    [ -n "${BASH_VERSION-}" ] && eval 'set -- "${reespack_command[@]}"'
    reespack_run "$@"
}

# A kernel that is started from a session is inside already: what the session's `start` has set
# holds, and a server that it has started is not started twice.
reespack_first=
reespack_aside=
if [ "${REESPACK_PREFIX-}" != "$reespack_prefix" ]; then
    reespack_first=1
    # An activation script that calls `exit`, or does not parse, ends this shell. Not the command.
    # (bash shows the trap the arguments of the function that it was in, hence the array.)
    [ -n "${BASH_VERSION-}" ] && eval 'reespack_command=("$@")'
    trap 'reespack_survive "$@"' EXIT
    # What the scripts print is not the command's output. (A redirection of `.` would stay on.)
    if (: >&1) 2>/dev/null && (: >&2); then
        reespack_aside=1
        exec 9>&1 >&2
    fi
    reespack_activate
fi
reespack_run "$@"
