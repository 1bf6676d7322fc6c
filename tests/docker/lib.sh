# lib.sh: a Docker engine, the base image and a cluster, for the scripts in this folder; each one
# sources it and calls docker_up. At exit everything is as it was: containers, volumes, networks,
# images, and the engine when it was started here.
#
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$root/build/docker
base=$(awk '$1 == "FROM" { print $2; exit }' "$root/Dockerfile")
image=peervault:test-$$
work='' engine_pid='' service_started='' base_made='' bridges_opened=''
bridge_rule=(-m physdev --physdev-is-bridged -j ACCEPT)
compose=()
export DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0 COMPOSE_IGNORE_ORPHANS=1
export PEERVAULT_IMAGE=$image PEERVAULT_SECRETS

say() {
    printf '%s\n' "$*" >&2
}

# skip REASON: this machine cannot run containers, which is no fault of ours.
skip() {
    echo "SKIP docker: $*"
    exit 0
}

# ---- the engine ----------------------------------------------------------------------------------

engine_answers() {
    docker info >/dev/null 2>&1
}

# without_services COMMAND...: packages that it installs start nothing. The engine of the package
# would change the firewall and forward packets.
without_services() {
    local policy=/usr/sbin/policy-rc.d status=0
    if [ -e $policy ]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy
    "$@" || status=$?
    rm -f $policy
    return $status
}

install_packages() {
    local missing=()
    command -v dockerd >/dev/null || missing+=(docker.io)
    command -v docker-compose >/dev/null || missing+=(docker-compose)
    command -v debootstrap >/dev/null || missing+=(debootstrap)
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || skip "no engine runs, and only root can install ${missing[*]}"
    command -v apt-get >/dev/null || skip "no engine runs, and there is no apt-get"
    say "docker: installing ${missing[*]}"
    {
        apt-get update -q && without_services env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends "${missing[@]}"
    } >"$work/apt.log" 2>&1 </dev/null ||
        skip "cannot install ${missing[*]}: $(tail -n 1 "$work/apt.log")"
    if engine_answers; then
        service_started=yes # by the package, as this machine's own policy has it
    fi
}

# Where bridged packets pass the machine's firewall and it forwards nothing, nodes could not meet.
open_bridges() {
    [ "$(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null)" = 1 ] || return 0
    iptables -S FORWARD 2>/dev/null | grep -x -e '-P FORWARD DROP' >/dev/null || return 0
    if iptables -I FORWARD "${bridge_rule[@]}"; then
        bridges_opened=yes
    else
        say "docker: the firewall drops what the nodes send each other"
    fi
}

close_bridges() {
    [ -z "$bridges_opened" ] || iptables -D FORWARD "${bridge_rule[@]}"
    bridges_opened=''
}

# start_engine OPTION...: an engine of our own. It leaves the machine's firewall alone: the
# cluster's network is private, and the builds use the machine's own.
start_engine() {
    export DOCKER_HOST=unix://$work/docker.sock
    dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" \
        --pidfile "$work/docker.pid" --bridge=none --iptables=false --ip6tables=false \
        --ip-forward=false --ip-masq=false "$@" >"$work/dockerd.log" 2>&1 </dev/null &
    engine_pid=$!
    local tries=0
    until engine_answers; do
        tries=$((tries + 1))
        if ! kill -0 $engine_pid 2>/dev/null || [ $tries -gt 60 ]; then
            stop_engine
            return 1
        fi
        sleep 0.5
    done
    open_bridges
}

stop_engine() {
    [ -n "$engine_pid" ] || return 0
    close_bridges
    kill $engine_pid 2>/dev/null
    wait $engine_pid 2>/dev/null
    engine_pid=''
    umount "$work"/exec/netns/* 2>/dev/null
}

find_engine() {
    if command -v docker >/dev/null && engine_answers; then
        return 0
    fi
    install_packages
    [ -z "$service_started" ] || return 0
    [ "$(id -u)" = 0 ] || skip "no engine answers, and only root can start one"
    start_engine || start_engine --storage-driver vfs ||
        skip "dockerd does not start: $(grep -v level=info "$work/dockerd.log" | tail -n 1)"
}

find_compose() {
    if command -v docker-compose >/dev/null; then
        compose=(docker-compose)
    elif docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
    else
        skip "neither docker-compose nor docker compose is installed"
    fi
}

# ---- the base image ------------------------------------------------------------------------------

# Archives of the base's release that apt uses here, as "uri suite component"; the first is its main
# archive. Whatever mirror or proxy this machine has been given is thereby used in the images too.
apt_archives() {
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(LABEL)' \
        'Created-By: Packages' 2>/dev/null |
        awk -v release="$1" '
            $4 ~ /^Debian/ && ($2 == release || index($2, release "-") == 1) { print $1, $2, $3 }' |
        sort -u | awk -v release="$1" '$2 == release { print; next } { rest = rest $0 "\n" }
                                       END { printf "%s", rest }'
}

# Debian's slim image, as near as debootstrap gets: only what is essential, without documentation.
make_base() {
    local release=${base#debian:} tree=$work/base mirror
    release=${release%-slim}
    apt_archives "$release" >"$work/archives"
    [ -s "$work/archives" ] || {
        apt-get update -q >/dev/null 2>&1 </dev/null
        apt_archives "$release" >"$work/archives"
    }
    read -r mirror _ <"$work/archives" || skip "apt has no archive of Debian $release here"
    debootstrap --variant=minbase "$release" "$tree" "$mirror" >"$work/debootstrap.log" 2>&1 ||
        skip "debootstrap: $(tail -n 1 "$work/debootstrap.log")"
    rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/* "$tree"/var/log/* \
        "$tree"/usr/share/{doc,man,info,locale}/*
    sed 's/^/deb /' "$work/archives" >"$tree/etc/apt/sources.list"
    apt-config dump | grep -iE '^Acquire::((https?|ftp)::|Check-|Retries)' \
        >"$tree/etc/apt/apt.conf.d/99machine"
    mkdir -p "$cache"
    tar -C "$tree" -c . >"$work/base.tar" && mv "$work/base.tar" "$cache/base.tar"
    rm -rf "$tree"
}

have_base() {
    ! docker image inspect "$base" >/dev/null 2>&1 || return 0
    if [ -z "$engine_pid" ] && docker pull -q "$base" >/dev/null 2>&1; then
        return 0
    fi
    if [ ! -s "$cache/base.tar" ]; then
        command -v debootstrap >/dev/null || skip "cannot get $base, and there is no debootstrap"
        [ "$(id -u)" = 0 ] || skip "cannot get $base, and only root can make it"
        say "docker: making $base from this machine's own archives"
        make_base
    fi
    docker import -c 'CMD ["bash"]' "$cache/base.tar" "$base" >/dev/null || return 1
    base_made=yes
}

# ---- the cluster ---------------------------------------------------------------------------------

project=peervault-test-$$

compose() {
    "${compose[@]}" --project-directory "$root" -f "$root/compose.yaml" -p "$project" \
        "$@" </dev/null
}

cluster_down() {
    compose down --volumes --timeout 15
}

# container SERVICE: its id, running or not.
container() {
    docker ps -a -q --no-trunc -f "label=com.docker.compose.project=$project" \
        -f "label=com.docker.compose.service=$1"
}

# on NODE ARGUMENT...: peervault with these arguments on that node, standard input included.
on() {
    local id
    id=$(container "$1") || return 1
    shift
    docker exec -i "$id" peervault "$@"
}

# status NODE FIELD: one value of its status.
status() {
    on "$1" status --json </dev/null 2>/dev/null | python3 -c '
import json, sys
print(json.load(sys.stdin)[sys.argv[1]])' "$2" 2>/dev/null
}

# health_is CONTAINER healthy|unhealthy
health_is() {
    [ "$(docker inspect -f '{{.State.Health.Status}}' "$1")" = "$2" ]
}

# until_true SECONDS COMMAND...: looks again and again at what nothing announces.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        if [ $SECONDS -ge $deadline ]; then
            say "waited in vain for: $*"
            return 1
        fi
        sleep 0.2
    done
}

healthy() {
    health_is "$(container "$1")" healthy
}

# connected NODE COUNT
connected() {
    [ "$(status "$1" connected)" = "$2" ]
}

# members NODE COUNT: as it knows them.
members() {
    [ "$(status "$1" members)" = "$2" ]
}

# has NODE KEY: everything of that file is on that node itself.
has() {
    on "$1" stat "$2" --json </dev/null 2>/dev/null | python3 -c '
import json, sys
sys.exit(json.load(sys.stdin)["missing_blobs"] != 0)' 2>/dev/null
}

# gives NODE KEY: the file comes from there with the right bytes.
gives() {
    [ "$(on "$1" get "$2" </dev/null | sha256sum | cut -c 1-64)" = "$2" ]
}

# put NODE FILE [OPTION...]: stores it and prints the key.
put() {
    local node=$1 file=$2
    shift 2
    on "$node" store - --quiet --name "$(basename "$file")" "$@" <"$file" | cut -c 1-64
}

# make_file NAME BYTES: the path of a new file with random content.
make_file() {
    head -c "$2" /dev/urandom >"$work/$1"
    printf '%s\n' "$work/$1"
}

# ---- beginning and end ---------------------------------------------------------------------------

clean_up() {
    trap - EXIT INT TERM
    if [ ${#compose[@]} -gt 0 ] && engine_answers; then
        cluster_down >/dev/null 2>&1
        docker ps -a -q -f "label=$project" | xargs -r docker rm -f -v >/dev/null 2>&1
        docker rmi -f "$image" "$image-tested" "$image-built" "$image-service" >/dev/null 2>&1
        docker image prune -f --filter "label=$project" >/dev/null 2>&1
        [ -z "$base_made" ] || docker rmi "$base" >/dev/null 2>&1
    fi
    stop_engine
    [ -z "$service_started" ] || systemctl stop docker.service docker.socket containerd.service
    [ -z "$work" ] || rm -rf "$work"
}

# An engine that answers may still be unable to run what it is asked to, with a network and limits.
try_container() {
    local status=0
    docker network create --internal "$project-try" || return 1
    docker run --rm --label "$project" --network "$project-try" --read-only --cap-drop ALL \
        --memory 192m --pids-limit 64 "$base" true || status=$?
    docker network rm "$project-try" || return 1
    return $status
}

# build [OPTION...]: through the machine's own network, which is how apt reaches its archives.
build() {
    docker build --network host --label "$project" "$@" "$root"
}

docker_up() {
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    work=$(mktemp -d /tmp/peervault-docker.XXXXXX)
    PEERVAULT_SECRETS=$work/secrets
    find_engine
    find_compose
    have_base
    try_container >"$work/try.log" 2>&1 ||
        skip "the engine cannot run a container: $(tail -n 1 "$work/try.log")"
    "$root/packaging/docker/secrets" "$PEERVAULT_SECRETS" >/dev/null
}
