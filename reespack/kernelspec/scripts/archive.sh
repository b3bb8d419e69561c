#!/bin/sh
# Starts a kernel from a packed environment, which is unpacked on first use and stays.
#
#     sh launch.sh --unpack      unpacks now, so that the first kernel starts at once
#     sh launch.sh --where       prints the environment's folder
#     sh launch.sh COMMAND...    what jupyter_client calls; @PREFIX@ stands for the environment
#
# The environment goes to ${REESPACK_STORE:-${XDG_CACHE_HOME:-$HOME/.cache}/reespack/environments},
# in a folder named by the archive's sha256. The archive is looked for where it was built, as a file
# or link `archive` in this folder, and in the folders of $REESPACK_ARCHIVES (colon-separated).
# Plain POSIX sh; once the environment is unpacked, nothing but builtins. See docs/kernelspec.md.

say() { printf 'reespack: %s\n' "$*" >&2; }

die() {
    say "$1"
    shift
    for line in "$@"; do printf '    %s\n' "$line" >&2; done
    exit 70
}

case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
here=$(CDPATH= cd -P -- "$here" && pwd -P) || exit 70
# Sets archive_path, archive_file, archive_format, archive_sha256 and kernel.
[ -r "$here/archive.sh" ] || die "$here/archive.sh is missing: install the kernelspec again"
. "$here/archive.sh"

# What a shell makes up where PATH is unset is not the caller's.
case $(export -p) in
*" PATH="*) old_path=${PATH-} ;;
*) old_path= ;;
esac
PATH=${old_path:+$old_path:}/usr/local/bin:/usr/bin:/bin
export PATH

# --- where -------------------------------------------------------------------------------------

find_store() {
    if [ -n "${REESPACK_STORE-}" ]; then
        store=$REESPACK_STORE
    elif [ -n "${XDG_CACHE_HOME-}" ]; then
        store=$XDG_CACHE_HOME/reespack/environments
    elif [ -n "${HOME-}" ]; then
        store=$HOME/.cache/reespack/environments
    else
        home=$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f6)
        if [ -n "$home" ] && [ -d "$home" ]; then
            store=$home/.cache/reespack/environments
        else
            store=${TMPDIR:-/tmp}/reespack-$(id -u)
        fi
    fi
    case $store in
    /*) ;;
    *) store=$PWD/$store ;;
    esac
    digest=${archive_sha256%"${archive_sha256#????????????????}"}
    environment=$store/$digest
    # Written last, with the place it was unpacked in: a folder that was moved is not ready.
    ready=$environment/share/reespack/unpacked
}

is_ready() {
    [ -r "$ready" ] || return 1
    IFS= read -r place <"$ready" && [ "$place" = "$environment" ] || return 1
    [ -O "$environment" ] && return 0
    # A store of someone else's is used when it was named on purpose and cannot be written to.
    [ -n "${REESPACK_STORE-}" ] && [ ! -w "$store" ]
}

make_store() {
    (umask 077 && mkdir -p "$store") 2>/dev/null ||
        die "the folder $store cannot be made" "set REESPACK_STORE to a folder that you may write to"
    [ -O "$store" ] ||
        die "$store belongs to another user" "set REESPACK_STORE to a folder of your own"
    [ -w "$store" ] ||
        die "$store is not writable" "set REESPACK_STORE to a folder that you may write to"
    chmod 700 "$store" 2>/dev/null
}

# --- which archive -----------------------------------------------------------------------------

sha256_of() {
    if command -v sha256sum >/dev/null; then
        sha256sum <"$1"
    elif command -v shasum >/dev/null; then
        shasum -a 256 <"$1"
    elif command -v openssl >/dev/null; then
        openssl dgst -sha256 -r <"$1"
    else
        echo "$archive_sha256 (unchecked: no program for it on this machine)"
    fi
}

is_archive() {
    [ -f "$1" ] && [ -r "$1" ] || return 1
    sum=$(sha256_of "$1") && [ "${sum%%[ *]*}" = "$archive_sha256" ] && return 0
    say "$1 is another archive (its sha256 is not $archive_sha256)"
    return 1
}

find_archive() {
    archive=$archive_path
    is_archive "$archive" && return 0
    archive=$here/archive
    is_archive "$archive" && return 0
    folders=${REESPACK_ARCHIVES-}:
    while [ -n "$folders" ]; do
        archive=${folders%%:*}/$archive_file
        folders=${folders#*:}
        [ "$archive" != "/$archive_file" ] && is_archive "$archive" && return 0
    done
    die "the archive $archive_file of this kernel is not to be found" \
        "it was built as $archive_path;" \
        "put it back, or make $here/archive a link to it," \
        "or name its folder in the variable REESPACK_ARCHIVES"
}

# --- the lock ----------------------------------------------------------------------------------
# A folder, which every file system makes atomically; flock is refused by some. Its owner counts up
# in `beat`, and only when that stands still is the owner taken for dead: at once where its process
# is seen to be gone, else after a while (another host, a container's own process numbers).

take_lock() {
    lock=$store/.$digest.lock
    me=$(uname -n 2>/dev/null).$$
    waited=
    last=
    still=0
    until mkdir "$lock" 2>/dev/null; do
        [ -d "$store" ] || die "$store has vanished"
        is_ready && return 1
        if [ -z "$waited" ]; then
            waited=1
            say "waiting for another process that unpacks $archive_file"
        fi
        now=$(cat "$lock/owner" "$lock/beat" 2>/dev/null)
        if [ "$now" = "$last" ]; then still=$((still + 1)); else still=0; fi
        last=$now
        if [ "$still" -ge "$(patience)" ]; then
            say "taking over from a process that is gone"
            mv "$lock" "$lock.$$" 2>/dev/null && rm -rf "$lock.$$"
            still=0
        fi
        sleep 1
    done
    echo "$me" >"$lock/owner"
    # Before the traps: a signal that a child takes while it still has ours is lost.
    beat "$lock" $$ </dev/null >/dev/null 2>&1 &
    beating=$!
    trap 'release' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

patience() {
    owner=$(cat "$lock/owner" 2>/dev/null)
    if [ "${owner%.*}" = "${me%.*}" ] && [ -n "$owner" ] && ! kill -0 "${owner##*.}" 2>/dev/null; then
        echo 6
    else
        echo 60
    fi
}

beat() {
    count=0
    while sleep 2 && kill -0 "$2" 2>/dev/null; do
        count=$((count + 1))
        echo "$count" 2>/dev/null >"$1/beat" || exit
    done
}

release() {
    trap - EXIT
    trap '' HUP INT TERM
    if [ -n "$beating" ]; then
        kill "$beating" 2>/dev/null
        wait "$beating" 2>/dev/null
    fi
    [ -n "$part" ] && discard "$part"
    [ "$(cat "$lock/owner" 2>/dev/null)" = "$me" ] && rm -rf "$lock"
    trap - HUP INT TERM
}

discard() {
    [ -e "$1" ] || return 0
    chmod -R u+w "$1" 2>/dev/null
    rm -rf "$1"
}

# --- unpacking ---------------------------------------------------------------------------------

python_unpack='
import sys, tarfile
archive, target, kind = sys.argv[1:]
def source():
    if kind == "tar.gz":
        import gzip
        return gzip.open(archive)
    try:
        from compression import zstd
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            import zstandard
            return zstandard.ZstdDecompressor().stream_reader(open(archive, "rb"), read_across_frames=True)
    return zstd.open(archive)
with source() as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
    if hasattr(tarfile, "tar_filter"):
        tar.extraction_filter = staticmethod(tarfile.tar_filter)
    tar.extractall(target)
'

# tar alone knows whether it got everything only when the decompressor has not failed.
piped() {
    failed=$part.failed
    { "$@" <"$archive" || : >"$failed"; } | tar -xof - -C "$part" && [ ! -e "$failed" ]
    status=$?
    rm -f "$failed"
    return "$status"
}

can_python() { command -v python3 >/dev/null && python3 -c "import $1" 2>/dev/null; }

no_tool() {
    die "nothing on this machine can read $archive_file" "$@" \
        "or build it again with: reespack build --format tar.gz"
}

unpack_into_part() {
    case $archive_format in
    tar.zst)
        if command -v tar >/dev/null && command -v zstd >/dev/null; then
            piped zstd -dcq
        elif command -v bsdtar >/dev/null && bsdtar -tf "$archive" >/dev/null 2>&1; then
            bsdtar -xof "$archive" -C "$part"
        elif can_python compression.zstd || can_python backports.zstd || can_python zstandard; then
            python3 -c "$python_unpack" "$archive" "$part" tar.zst
        elif command -v reespack >/dev/null; then
            rmdir "$part" && reespack unpack "$archive" "$part" >&2
        else
            no_tool "install zstd, or make \`python3 -m pip install --user zstandard\`"
        fi
        ;;
    tar.gz)
        if command -v tar >/dev/null && command -v gzip >/dev/null; then
            piped gzip -dc
        elif can_python gzip; then
            python3 -c "$python_unpack" "$archive" "$part" tar.gz
        else
            no_tool "install tar and gzip, or python3"
        fi
        ;;
    squashfs)
        command -v unsquashfs >/dev/null || no_tool "install squashfs-tools (unsquashfs)"
        rmdir "$part" && unsquashfs -no-progress -no-xattrs -d "$part" "$archive" >/dev/null
        ;;
    *) die "$archive_format is no format that this launcher knows" ;;
    esac
}

unpack() {
    find_archive
    for left in "$store/.$digest.part."*; do discard "$left"; done
    discard "$environment" || die "the unfinished $environment cannot be removed"
    part=$store/.$digest.part.$me
    say "unpacking $archive to $environment (once)"
    (umask 077 && mkdir "$part") || die "$part cannot be made" "is the disk full?"
    unpack_into_part || die "$archive cannot be unpacked to $store" \
        "is there room for it? REESPACK_STORE names another folder"
    [ ! -e "$environment" ] && mv "$part" "$environment" || die "$environment cannot be made"
    part=
    mend || die "conda-unpack failed in $environment" "the lines above say why"
    (umask 077 && printf '%s\n' "$environment" >"$ready.new") && mv -f "$ready.new" "$ready" ||
        die "$environment cannot be written to" "is the disk full?"
    chmod 700 "$environment"
    say "unpacked"
}

mend() {
    [ -f "$environment/bin/conda-unpack" ] || return 0
    if [ -x "$environment/bin/python" ]; then
        "$environment/bin/python" -I "$environment/bin/conda-unpack" >&2
    else
        "$environment/bin/conda-unpack" >&2
    fi
}

# --- go ----------------------------------------------------------------------------------------

find_store
if [ "${1-}" = --where ]; then
    printf '%s\n' "$environment"
    exit 0
fi
if ! is_ready; then
    beating=
    part=
    make_store
    if take_lock; then
        is_ready || unpack
        release
    fi
fi
[ "${1-}" = --unpack ] && exit 0
PATH=$old_path
exec /bin/sh "$environment/share/jupyter/kernels/$kernel/launch.sh" "$@"
