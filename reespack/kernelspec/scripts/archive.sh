#!/bin/sh
#ABOUT#
#
# The environment goes into a store, in a folder named by the archive's sha256; which store that is,
# what lies in it and how processes keep out of each other's way is described in docs/installing.md.
# `reespack exec` and `reespack install` do the same in Python and use what this has unpacked, and
# the other way round. Plain POSIX sh; of other programs, the system's everyday ones.

say() { printf 'reespack: %s\n' "$*" >&2; }

die() {
    say "$1"
    shift
    for line in "$@"; do printf '    %s\n' "$line" >&2; done
    exit "${code:-73}"
}

case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
here=$(CDPATH= cd -P -- "$here" && pwd -P) || exit 70
self=$here/${0##*/}
# archive_path, archive_file, archive_format, archive_sha256, archive_offset and kernel.
#SETTINGS#

# What a shell makes up where PATH is unset is not the caller's.
case $(export -p) in
*" PATH="*) old_path=${PATH-} ;;
*) old_path= ;;
esac
PATH=${old_path:+$old_path:}/usr/local/bin:/usr/bin:/bin
export PATH
old_umask=$(umask)
umask 077
uid=$(id -u)

# --- where -------------------------------------------------------------------------------------

find_store() {
    above=
    if [ -n "${REESPACK_STORE-}" ]; then
        store=$REESPACK_STORE
        case $store in
        /*) ;;
        *) store=$PWD/$store ;;
        esac
        while [ "$store" != "${store%/}" ] && [ "$store" != / ]; do store=${store%/}; done
        above=${store%/*}
        below=${store##*/}
        above=${above:-/}
        return
    fi
    old_ifs=$IFS
    IFS=' ,'
    for name in ${REESPACK_STORE_ORDER:-SLURM_TMPDIR TMPDIR XDG_CACHE_HOME tmp}; do
        IFS=$old_ifs
        below=reespack-$uid
        case $name in
        tmp)
            above=/tmp
            [ -w "$above" ] || above=/var/tmp
            ;;
        XDG_CACHE_HOME) find_cache || continue ;;
        *[!A-Z0-9_]*) die "REESPACK_STORE_ORDER: $name is no variable's name" ;;
        *)
            eval "above=\${$name-}"
            case $above in
            /*) [ -d "$above" ] || continue ;;
            *) continue ;;
            esac
            ;;
        esac
        store=$above/$below
        [ -d "$store" ] && return
        found=$above
        until [ -e "$found" ]; do
            found=${found%/*}
            found=${found:-/}
        done
        [ -w "$found" ] && [ -x "$found" ] && return
    done
    IFS=$old_ifs
    die "there is no place for the store of environments" \
        "set REESPACK_STORE to a folder that you may write to"
}

find_cache() {
    below=reespack/environments
    case ${XDG_CACHE_HOME-} in
    /*)
        above=$XDG_CACHE_HOME
        return
        ;;
    esac
    home=${HOME-}
    [ -n "$home" ] || home=$(getent passwd "$uid" 2>/dev/null | cut -d: -f6)
    case $home in
    /*) above=$home/.cache && [ -d "$home" ] ;;
    *) return 1 ;;
    esac
}

# Sets mode and owner of a folder.
look_at() {
    # shellcheck disable=SC2046 - words are wanted
    set -- $(ls -ldn -- "$1")
    mode=$1
    owner=$3
}

untrusted() { code=74 die "$1" "set REESPACK_STORE to a folder of your own"; }

# Every folder below one that others may write to must be one's own, and closed to them.
make_store() {
    [ -d "$above" ] || mkdir -p -- "$above" 2>/dev/null ||
        die "the folder $above cannot be made" "set REESPACK_STORE to a folder that you may write to"
    look_at "$above/."
    case $mode in
    ????????w[!tT]*) untrusted "anybody may write to $above, and remove what others put there" ;;
    esac
    store=$(CDPATH= cd -P -- "$above" && pwd -P) || die "the folder $above cannot be entered"
    rest=$below
    while [ -n "$rest" ]; do
        store=${store%/}/${rest%%/*}
        case $rest in
        */*) rest=${rest#*/} ;;
        *) rest= ;;
        esac
        mkdir -m 700 -- "$store" 2>/dev/null || [ -d "$store" ] ||
            die "the folder $store cannot be made" \
                "set REESPACK_STORE to a folder that you may write to"
        [ ! -h "$store" ] || untrusted "$store is a link"
        look_at "$store"
        # One that was named and is staged for others (`reespack stage --for-all`) keeps its mode.
        if [ -n "${REESPACK_STORE-}" ] && [ "$(printf '%.10s' "$mode")" = drwxr-xr-x ]; then
            is_trusted || untrusted "$store belongs to user $owner, who is not trusted"
            continue
        fi
        [ "$owner" = "$uid" ] || untrusted "$store belongs to user $owner, not to you"
        case $mode in
        ?????w* | ????????w*) untrusted "others may write to $store" ;;
        drwx------*) ;;
        *) chmod 700 "$store" ;;
        esac
    done
    name_things
}

name_things() {
    digest=${archive_sha256%"${archive_sha256#????????????????}"}
    environment=${store%/}/$digest
    leases=${store%/}/.$digest.leases
    lock=${store%/}/.$digest.lock
    beat=${store%/}/.$digest.beat
}

is_trusted() {
    case $owner in
    0 | "$uid") return 0 ;;
    esac
    old_ifs=$IFS
    IFS=' ,'
    for account in ${REESPACK_STORE_OWNERS-}; do
        IFS=$old_ifs
        case $account in
        *[!0-9]*) account=$(id -u "$account" 2>/dev/null) ;;
        esac
        [ "$owner" = "$account" ] && return 0
    done
    IFS=$old_ifs
    return 1
}

is_ready() {
    [ -r "$environment/share/reespack/unpacked" ] || return 1
    {
        IFS= read -r place && IFS= read -r sum
    } <"$environment/share/reespack/unpacked" || return 1
    # A folder that was moved is not ready.
    [ "$place" = "$environment" ] && [ "$sum" = "$archive_sha256" ]
}

# A store that is only read: its environments are used when it and they are a trusted account's.
find_shared() {
    [ -n "${REESPACK_SHARED_STORE-}" ] && [ -d "$REESPACK_SHARED_STORE" ] || return 1
    # In a user namespace without root, as around a mounted environment, no owner can be told.
    { read -r first_uid rest </proc/self/uid_map; } 2>/dev/null || first_uid=0
    [ "$first_uid" = 0 ] || return 1
    store=$(CDPATH= cd -P -- "$REESPACK_SHARED_STORE" && pwd -P) || return 1
    name_things
    is_ready || return 1
    for folder in "$store" "$environment"; do
        look_at "$folder"
        is_trusted || untrusted "$folder belongs to user $owner, who is not trusted"
        case $mode in
        ?????w* | ????????w*) untrusted "others may write to $folder" ;;
        esac
    done
}

# --- who -----------------------------------------------------------------------------------------
# HOST:BOOT:NAMESPACE:PID:START:MARK means one process for ever.

describe_me() {
    { IFS= read -r host </proc/sys/kernel/hostname; } 2>/dev/null || host=$(uname -n)
    case $host in
    '' | *[!A-Za-z0-9._-]*) host=_ ;;
    esac
    { IFS= read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || boot=-
    namespace=$(readlink /proc/self/ns/pid 2>/dev/null)
    namespace=${namespace#*[}
    namespace=${namespace%]}
    status_of $$ || started=-
    me=$host:$boot:${namespace:--}:$$:$started
    # Python before 3.11 does not run from a folder with a colon in its path.
    me_in_path=$host,$boot,${namespace:--},$$,$started
}

# Sets the state and the start time of a process (proc(5)).
status_of() {
    { IFS= read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    # shellcheck disable=SC2086 - words are wanted
    set -- ${line##*) }
    state=$1
    shift 19
    started=$1
}

# Whether an owner is dead for certain. Where it cannot be seen from here, its heart tells: $2 is
# for how many quarters of a second it has been watched without a beat.
is_dead() {
    rest=$1
    o_host=${rest%%:*} rest=${rest#*:}
    o_boot=${rest%%:*} rest=${rest#*:}
    o_namespace=${rest%%:*} rest=${rest#*:}
    o_pid=${rest%%:*} rest=${rest#*:}
    o_started=${rest%%:*}
    case $o_pid in
    '' | *[!0-9]*) return 1 ;;
    esac
    if [ "$o_boot:$o_namespace" = "$boot:${namespace:--}" ]; then
        if status_of "$o_pid"; then
            case $state in
            Z | X) return 0 ;;
            esac
            [ "$o_started" != "$started" ]
        else
            ! kill -0 "$o_pid" 2>/dev/null
        fi
    elif [ "$o_host" = "$host" ] && [ "$o_boot" != "$boot" ]; then
        [ "$2" -ge 40 ]
    else
        [ "$2" -ge 240 ]
    fi
}

# --- leases ------------------------------------------------------------------------------------
# A file for each process that runs from the environment; a process stays the same across `exec`.

take_lease() {
    beats=n
    case $namespace:$(stat -f -c %T -- "$store" 2>/dev/null) in
    4026531836:btrfs | 4026531836:ext2/ext3 | 4026531836:f2fs | 4026531836:jfs) ;;
    4026531836:overlayfs | 4026531836:ramfs | 4026531836:reiserfs | 4026531836:tmpfs) ;;
    4026531836:xfs | 4026531836:zfs) ;;
    *) beats=h ;;
    esac
    lease=$leases/$me:${beats}sh
    { true >"$lease"; } 2>/dev/null || return 1
    if [ "$beats" = h ]; then
        (keep_lease "$lease" "$$" "$started_here") </dev/null >/dev/null 2>&1 &
    fi
    # Those of the dead go when there are many.
    set -- "$leases"/*
    if [ $# -gt 32 ]; then
        for old in "$@"; do
            is_dead "${old##*/}" 0 && rm -f -- "$old"
        done
    fi
    return 0
}

keep_lease() {
    trap - EXIT
    cd / || exit
    while sleep 60; do
        status_of "$2" && [ "$started" = "$3" ] && [ "$state" != Z ] && touch -c -- "$1" || break
    done
    rm -f -- "$1"
}

make_leases() {
    mkdir -p -m 700 -- "$leases" || die "$leases cannot be made" "is the disk full?"
    look_at "$store"
    case $mode in
    ???????r*) chmod 1777 "$leases" ;;
    esac
}

# --- which archive -----------------------------------------------------------------------------

# The bytes of the archive, from a file of its own or from the end of this one.
read_archive() {
    if [ "$archive" = "$self" ]; then
        tail -c "+$((archive_offset + 1))" "$self"
    else
        cat "$archive"
    fi
}

archive_sum() {
    if command -v sha256sum >/dev/null; then
        read_archive | sha256sum
    elif command -v shasum >/dev/null; then
        read_archive | shasum -a 256
    elif command -v openssl >/dev/null; then
        read_archive | openssl dgst -sha256 -r
    else
        echo "$archive_sha256 (unchecked: no program for it on this machine)"
    fi
}

is_archive() {
    [ -f "$archive" ] && [ -r "$archive" ] || return 1
    sum=$(archive_sum) && [ "${sum%%[ *]*}" = "$archive_sha256" ] && return 0
    say "$archive is another archive (its sha256 is not $archive_sha256)"
    return 1
}

find_archive() {
    code=70
    if [ -n "$archive_offset" ]; then
        archive=$self
        is_archive && return 0
        die "$self is damaged or not complete" "copy it again"
    fi
    archive=$archive_path
    is_archive && return 0
    archive=$here/archive
    is_archive && return 0
    folders=${REESPACK_ARCHIVES-}:
    while [ -n "$folders" ]; do
        archive=${folders%%:*}/$archive_file
        folders=${folders#*:}
        [ "$archive" != "/$archive_file" ] && is_archive && return 0
    done
    die "the archive $archive_file of this kernel is not to be found" \
        "it was built as $archive_path;" \
        "put it back, or make $here/archive a link to it," \
        "or name its folder in the variable REESPACK_ARCHIVES"
}

# --- the lock ----------------------------------------------------------------------------------
# A symbolic link whose target is its owner: made in one step on every file system. One process at
# a time takes a dead owner's away: the one that has made the link `.break`, which looks again.

take_lock() {
    waited=
    last=
    still=0
    failed=0
    until problem=$(ln -s -- "$me:0-sh" "$lock" 2>&1); do
        owner=$(readlink -- "$lock" 2>/dev/null)
        [ "$owner" = "$me:0-sh" ] && break # NFS asked twice
        if [ -z "$owner" ]; then
            [ ! -e "$lock" ] || die "$lock is in the way: it is no lock"
            failed=$((failed + 1))
            [ "$failed" -lt 20 ] || die "the store $store cannot be written to" "$problem"
            continue
        fi
        failed=0
        is_ready && [ -d "$leases" ] && return 1
        if is_dead "$owner" "$still"; then
            say "taking over from a process that is gone"
            break_lock "$lock" "$owner"
            still=0
            continue
        fi
        if [ -z "$waited" ]; then
            waited=1
            is_dead "$owner" 0
            say "waiting for another process that unpacks $archive_file (process $o_pid on $o_host)"
        fi
        now="$owner $(cat -- "$beat" 2>/dev/null)"
        if [ "$now" = "$last" ]; then still=$((still + 1)); else still=0; fi
        last=$now
        # Many may wait: no program is started but this one, unless something has changed.
        sleep 0.25 2>/dev/null || sleep 1
        rounds=0
        while [ "$rounds" -lt 4 ] && [ -h "$lock" ] && ! is_ready; do
            rounds=$((rounds + 1))
            still=$((still + 2))
            sleep 0.5 2>/dev/null || sleep 1
        done
    done
    # Before the traps: a signal that a child takes while it still has ours is lost.
    keep_beating </dev/null >/dev/null 2>&1 &
    beating=$!
    trap 'release' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

break_lock() {
    if ln -s -- "$me:0-sh" "$1.break" 2>/dev/null; then
        [ "$(readlink -- "$1" 2>/dev/null)" = "$2" ] && rm -f -- "$1"
        rm -f -- "$1.break"
        return
    fi
    breaker=$(readlink -- "$1.break" 2>/dev/null) || return 0
    if is_dead "$breaker" "$still"; then break_lock "$1.break" "$breaker"; fi
}

keep_beating() {
    count=0
    while sleep 2 && kill -0 $$ 2>/dev/null && is_mine; do
        count=$((count + 1))
        echo "$me:0-sh $count" 2>/dev/null >"$beat" || exit
    done
}

is_mine() { [ "$(readlink -- "$lock" 2>/dev/null)" = "$me:0-sh" ]; }

release() {
    trap - EXIT
    trap '' HUP INT TERM
    if [ -n "$beating" ]; then
        kill "$beating" 2>/dev/null
        wait "$beating" 2>/dev/null
    fi
    [ -n "$part" ] && discard "$part"
    is_mine && rm -f -- "$beat" "$lock"
    trap - HUP INT TERM
}

# What a killed process has started may still be writing for a moment.
discard() {
    tries=0
    while [ -e "$1" ] && [ "$tries" -lt 20 ]; do
        [ "$tries" = 0 ] || sleep 1
        tries=$((tries + 1))
        chmod -R u+w "$1" 2>/dev/null
        rm -rf -- "$1" 2>/dev/null
    done
    [ ! -e "$1" ]
}

# --- unpacking ---------------------------------------------------------------------------------

python_unpack='
import sys, tarfile
target, kind = sys.argv[1:]
def source():
    if kind == "tar.gz":
        import gzip
        return gzip.open(sys.stdin.buffer)
    try:
        from compression import zstd
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            import zstandard
            return zstandard.ZstdDecompressor().stream_reader(sys.stdin.buffer, read_across_frames=True)
    return zstd.open(sys.stdin.buffer)
with source() as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
    if hasattr(tarfile, "tar_filter"):
        tar.extraction_filter = staticmethod(tarfile.tar_filter)
    tar.extractall(target)
'

# tar alone knows whether it got everything only when the decompressor has not failed.
piped() {
    failed=$part/failed
    { read_archive | "$@" || : >"$failed"; } | tar -xpof - -C "$target" && [ ! -e "$failed" ]
    status=$?
    rm -f -- "$failed"
    return "$status"
}

can_python() { command -v python3 >/dev/null && python3 -c "import $1" 2>/dev/null; }

no_tool() {
    die "nothing on this machine can read $archive_file" "$@" \
        "or build it again with: reespack build --format tar.gz"
}

unpack_to_target() {
    case $archive_format in
    tar.zst)
        if command -v tar >/dev/null && command -v zstd >/dev/null; then
            piped zstd -dcq
        elif command -v bsdtar >/dev/null && read_archive | bsdtar -tf - >/dev/null 2>&1; then
            read_archive | bsdtar -xpof - -C "$target"
        elif can_python compression.zstd || can_python backports.zstd || can_python zstandard; then
            read_archive | python3 -c "$python_unpack" "$target" tar.zst
        else
            no_tool "install zstd, or make \`python3 -m pip install --user zstandard\`"
        fi
        ;;
    tar.gz)
        if command -v tar >/dev/null && command -v gzip >/dev/null; then
            piped gzip -dc
        elif can_python gzip; then
            read_archive | python3 -c "$python_unpack" "$target" tar.gz
        else
            no_tool "install tar and gzip, or python3"
        fi
        ;;
    squashfs)
        command -v unsquashfs >/dev/null || no_tool "install squashfs-tools (unsquashfs)"
        rmdir "$target" &&
            unsquashfs ${archive_offset:+-offset "$archive_offset"} -no-progress -no-xattrs \
                -d "$target" "$archive" >/dev/null
        ;;
    *) die "$archive_format is no format that this launcher knows" ;;
    esac
}

unpack() {
    if [ -e "$environment" ]; then
        # Made for another place or archive: gone, unless somebody runs from it.
        close_leases || die "$environment was made for another place, and is in use there" \
            "end what runs from it, or set REESPACK_STORE to another folder"
        gone=$store/.$digest.gone.$me:0-sh
        mv -- "$environment" "$gone" && discard "$gone"
    fi
    find_archive
    say "unpacking $archive to $environment (once)"
    part=$store/.$digest.part.$me_in_path,0-sh
    target=$part/environment
    mkdir -- "$part" "$target" || die "$part cannot be made" "is the disk full?"
    unpack_to_target || die "$archive cannot be unpacked to $store" \
        "is there room for it? REESPACK_STORE names another folder"
    mend || die "conda-unpack failed" "the lines above say why"
    # The archive's time is old, and file systems for scratch data are purged of what is old.
    find "$target" -type f -exec touch {} + 2>/dev/null
    mkdir -p -- "$target/share/reespack" &&
        printf '%s\n%s\n%s\n' "$environment" "$archive_sha256" "$archive" \
            >"$target/share/reespack/unpacked" || die "$target cannot be written to" "is the disk full?"
    chmod 644 "$target/share/reespack/unpacked"
    chmod 755 "$target"
    code=73
    is_mine || die "this process was held up for so long that another one took over" "try again"
    make_leases
    [ ! -e "$environment" ] && mv -- "$target" "$environment" || die "$environment cannot be made"
    discard "$part"
    part=
    say "unpacked"
}

close_leases() {
    [ -d "$leases" ] || return 0
    for old in "$leases"/*; do
        [ -e "$old" ] && is_dead "${old##*/}" 0 && rm -f -- "$old"
    done
    rmdir -- "$leases" 2>/dev/null
}

# The environment's own Python runs from wherever it lies; everything else needs mending first.
mend() {
    [ -f "$target/bin/conda-unpack" ] || return 0
    if [ -x "$target/bin/python" ]; then
        "$target/bin/python" -I "$target/bin/conda-unpack" --prefix "$environment" >&2
    else
        "$target/bin/conda-unpack" --prefix "$environment" >&2
    fi
}

ensure() {
    until is_ready && take_lease && is_ready; do
        if take_lock; then
            for left in "$store/.$digest.part."* "$store/.$digest.gone."*; do
                discard "$left" || die "$left cannot be removed"
            done
            is_ready || unpack
            make_leases
            release
        fi
    done
}

# --- go ----------------------------------------------------------------------------------------

case ${1-} in
--where)
    if ! find_shared; then
        find_store
        store=${above%/}/$below
        name_things
    fi
    printf '%s\n' "$environment"
    exit 0
    ;;
--) shift ;;
--run) # not as the kernel's command
    kernel=
    shift
    ;;
'')
    if [ -z "$kernel" ]; then
        echo "usage: $0 [--unpack | --where | COMMAND [ARGUMENT]...]" >&2
        exit 2
    fi
    ;;
esac
beating=
part=
describe_me
started_here=$started
if find_shared; then
    take_lease || lease=
else
    find_store
    make_store
    ensure
fi
if [ "${1-}" = --unpack ]; then
    [ -n "$lease" ] && rm -f -- "$lease"
    exit 0
fi
PATH=$old_path
umask "$old_umask"
if [ -n "$kernel" ]; then
    exec /bin/sh "$environment/share/jupyter/kernels/$kernel/launch.sh" "$@"
fi
exec /bin/sh "$environment/share/reespack/exec" "$@"
