#!/bin/bash
# powercut.sh [--prove] [PROGRAM] [CYCLES]: what was acknowledged survives a power cut.
#
# A daemon on a loop-mounted file system stores and removes files until the file system is shut down
# under it, at a random moment: nothing that is only in memory reaches the disk any more, as if the
# power had gone. Then the file system is mounted again, the daemon is started again, and every key
# that was acknowledged before has to be there and whole, every one whose removal was has to be gone.
# What is acknowledged after the shutdown began proves nothing: with power nobody would have heard of
# it, and ext4 lets a sync succeed that meets the shutdown half-way.
# ext4 without auto_da_alloc (which hides missing syncs), and XFS.
#
# --prove lies to the daemon about every sync (nosync.c) and succeeds if the loss is found.
# Needs root and the usual tools; says SKIP and succeeds where something is missing.
set -u
prove=
if [ "${1-}" = --prove ]; then
    prove=1
    shift
fi
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "${1-$here/../../bin/peervault}") cycles=${2-20}

skip() {
    echo "SKIP powercut: $1"
    exit 0
}
[ "$(id -u)" = 0 ] || skip "not root"
for tool in losetup mkfs.ext4 mkfs.xfs xfs_io truncate sha256sum; do
    command -v "$tool" >/dev/null || skip "no $tool"
done
[ -x "$program" ] || { echo "powercut: no program $program" >&2; exit 2; }

work=$(mktemp -d) disk=$work/disk daemon= client=
mkdir "$disk" "$work/source"
clean_up() {
    [ -z "$client" ] || kill -9 "$client" 2>/dev/null
    [ -z "$daemon" ] || kill -9 "$daemon" 2>/dev/null
    wait
    ! mountpoint -q "$disk" || umount -l "$disk"
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

PEERVAULT_AUTH_TOKEN=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
PEERVAULT_CLUSTER_KEY=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
export PEERVAULT_AUTH_TOKEN PEERVAULT_CLUSTER_KEY
preload=
if [ -n "$prove" ]; then
    ${CC:-cc} -shared -fPIC -o "$work/nosync.so" "$here/nosync.c" || skip "no compiler"
    preload=$work/nosync.so
fi

# Sizes that end in the record, in a row, in a file, and in several.
sizes=(100 4000 5000 60000 70000 300000 900000 3000000)
for size in "${sizes[@]}"; do
    head -c "$size" /dev/urandom >"$work/base.$size"
done

# mount_disk: the image where it left off; the log of the file system is replayed.
mount_disk() {
    case $fs in
    ext4) mount -o loop,noauto_da_alloc "$work/image" "$disk" ;;
    xfs) mount -o loop "$work/image" "$disk" ;;
    esac
}

# $1: what to preload.
start_daemon() {
    : >"$work/log"
    LD_PRELOAD=$1 "$program" --vault "$disk/vault" daemon --listen 127.0.0.1:0 >"$work/log" 2>&1 &
    daemon=$!
    until grep -q listening "$work/log"; do
        if ! kill -0 "$daemon" 2>/dev/null; then
            echo "powercut: the daemon does not start:" >&2
            cat "$work/log" >&2
            return 1
        fi
        sleep 0.02
    done
}

# Stores and removes until something fails, which is when the disk is gone. stored and removed are
# written by what the program says; doomed before it is asked, because after that nobody knows.
store_until_it_fails() {
    local round=0 size key n
    while :; do
        round=$((round + 1))
        for n in 1 2 3; do
            for size in "${sizes[@]}"; do
                { cat "$work/base.$size" && echo "$cycle $round $n"; } \
                    >"$work/source/$cycle.$round.$n.$size"
            done
        done
        "$program" --vault "$disk/vault" store --no-wait "$work/source/$cycle.$round".* \
            >"$work/acks" 2>/dev/null
        n=$?
        cut -c1-64 "$work/acks" >>"$work/stored"
        rm -f "$work/source"/*
        [ "$n" = 0 ] || return
        key=$(head -n 1 "$work/acks" | cut -c1-64)
        echo "$key" >>"$work/doomed"
        "$program" --vault "$disk/vault" rm "$key" >/dev/null 2>&1 || return
        echo "$key" >>"$work/removed"
    done
}

check_stored() {
    local key
    sort "$1" | comm -23 - <(sort "$work/doomed") | while read -r key; do
        [ ${#key} = 64 ] || continue # the last line of an interrupted client
        if ! "$program" --vault "$disk/vault" get "$key" -o "$work/out" 2>"$work/err"; then
            echo "LOST $key: $(cat "$work/err")"
        elif [ "$(sha256sum <"$work/out" | cut -c1-64)" != "$key" ]; then
            echo "WRONG BYTES $key"
        fi
    done
}

check_removed() {
    local key
    while read -r key; do
        "$program" --vault "$disk/vault" get "$key" -o "$work/out" 2>/dev/null
        [ $? = 3 ] || echo "RESURRECTED $key"
    done <"$1"
}

one_cycle() {
    start_daemon "$preload" || return 1
    : >"$work/stored" && : >"$work/acks" && : >"$work/removed"
    store_until_it_fails &
    client=$!
    sleep "$((RANDOM % 2)).$((RANDOM % 900 + 100))"
    cut -c1-64 "$work/stored" "$work/acks" | sort -u >"$work/must"
    cp "$work/removed" "$work/must_not"
    xfs_io -x -c shutdown "$disk" || return 1
    wait "$client"
    client=
    kill -9 "$daemon" 2>/dev/null
    wait "$daemon" 2>/dev/null
    daemon=
    umount "$disk" && mount_disk || return 1
    if ! start_daemon ""; then
        echo "LOST the vault: $(tail -n 1 "$work/log")" >>"$work/found"
        return 1
    fi
    cat "$work/must" >>"$work/all"
    cat "$work/must_not" >>"$work/none"
    check_stored "$work/must" >>"$work/found"
    check_removed "$work/must_not" >>"$work/found"
    if [ "$cycle" = "$cycles" ]; then # later cuts do not take what earlier ones left
        check_stored "$work/all" >>"$work/found"
        check_removed "$work/none" >>"$work/found"
    fi
    local status
    status=$("$program" --vault "$disk/vault" status --json)
    case $status in
    *'"healthy": true'* | *'"healthy":true'*) ;;
    *) echo "UNHEALTHY: $status" >>"$work/found" ;;
    esac
    kill -TERM "$daemon" && wait "$daemon"
    daemon=
    [ ! -s "$work/found" ]
}

run_on() {
    fs=$1
    rm -f "$work/image"
    truncate -s 2G "$work/image"
    case $fs in
    ext4) mkfs.ext4 -q -F "$work/image" ;;
    xfs) mkfs.xfs -q "$work/image" ;;
    esac >/dev/null 2>&1 || skip "cannot make $fs"
    mount_disk 2>/dev/null || skip "cannot mount $fs on a loop device"
    : >"$work/all" && : >"$work/none" && : >"$work/doomed" && : >"$work/found"
    local failed=0
    cycle=1
    while [ "$cycle" -le "$cycles" ]; do
        if ! one_cycle; then
            failed=1
            break
        fi
        cycle=$((cycle + 1))
    done
    [ -z "$daemon" ] || { kill -9 "$daemon" 2>/dev/null; wait "$daemon" 2>/dev/null; daemon=; }
    umount "$disk"
    echo "$fs: $((failed ? cycle : cycles)) cuts," \
        "$(wc -l <"$work/all") files and $(wc -l <"$work/none") removals acknowledged," \
        "$(wc -l <"$work/found") lost or wrong"
    head -n 5 "$work/found"
    return $failed
}

result=0
for fs in ext4 xfs; do
    if run_on "$fs"; then
        found=
    else
        found=1
    fi
    [ "$found" = "$prove" ] || result=1
done
exit $result
