# service.sh: the Debian package and its service, on a machine with systemd: a container with that
# as its first process, from service.Dockerfile. Sourced by `run`; its tests say SKIP where systemd
# does not start. What the unit's ExecStart does by itself is in integration/test_install.py.
#
# shellcheck shell=bash disable=SC2154 # variables of lib.sh

machine=$project-machine
vault=/var/lib/peervault

# The machine is not privileged: it has control groups of its own, the host's it does not see, and
# CAP_SYS_ADMIN for the sandboxes of its services (SYS_PTRACE lets a test look into one). The engine
# mounts those groups read-only.
boot="awk '\$2 ~ \"^/sys/fs/cgroup\" { print \$2 }' /proc/mounts |
    xargs -n 1 mount -o remount,bind,rw
exec /sbin/init"

build_machine() {
    build --target build -t "$image-built" &&
        docker build --network host --label "$project" --build-arg "BUILT=$image-built" \
            --build-arg "BASE=$base" -t "$image-service" - <tests/docker/service.Dockerfile
}

start_machine() {
    docker run -d --name "$machine" --label "$project" --network none --cgroupns private \
        --cap-add SYS_ADMIN --cap-add SYS_PTRACE \
        --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
        --tmpfs /run --tmpfs /run/lock --tmpfs /tmp --env container=docker "$image-service" \
        bash -c "$boot" && until_true 60 booted
}

booted() {
    on_machine systemctl is-system-running | grep -E '^(running|degraded)$' >/dev/null
}

on_machine() {
    docker exec -i "$machine" "$@" </dev/null
}

# as_peervault ARGUMENT...: the command of the service's own user.
as_peervault() {
    docker exec -i "$machine" runuser -u peervault -- peervault --vault $vault "$@"
}

# unit PROPERTY: what systemd knows of the service.
unit() {
    on_machine systemctl show -p "$1" --value peervault
}

# shows VALUE PROPERTY
shows() {
    [ "$(unit "$2")" = "$1" ]
}

install_version() {
    on_machine sh -c "dpkg -i /packages/$1/*.deb"
}

have_machine() {
    [ "$(docker inspect -f '{{.State.Running}}' "$machine" 2>/dev/null)" != true ] || return 0
    build_machine
    start_machine || skip_test "systemd does not start in a container here:" \
        "$(docker logs "$machine" 2>&1 | tail -n 1)"
    install_version now
}

# have_service: the machine, with the package and its service running.
have_service() {
    have_machine
    on_machine systemctl enable --now peervault
    shows active ActiveState
}

# keep BYTES: stores a new file through the service and remembers its key in $work/kept.
keep() {
    head -c "$1" /dev/urandom | as_peervault store - -q | cut -c 1-64 >>"$work/kept"
}

gives_kept() {
    local key
    [ -s "$work/kept" ] || return 1
    while read -r key; do
        [ "$(as_peervault get "$key" </dev/null | sha256sum | cut -c 1-64)" = "$key" ] || return 1
    done <"$work/kept"
}

test_service_waits_for_its_administrator() {
    have_machine
    shows inactive ActiveState
    fails on_machine test -e $vault
    have_service
    keep 100000
    gives_kept
}

test_service_is_confined() {
    local pid mem_limit
    have_service
    on_machine systemd-analyze verify --man=no peervault.service >"$work/verified" 2>&1
    cat "$work/verified"
    [ ! -s "$work/verified" ]
    on_machine systemd-analyze security --no-pager --threshold=15 peervault.service | tail -n 1
    pid=$(unit MainPID)
    on_machine grep -E '^(Uid|Cap|NoNewPrivs|Seccomp):?' "/proc/$pid/status" >"$work/confined"
    cat "$work/confined"
    grep -qE '^CapBnd:\s+0+$' "$work/confined"
    grep -qE '^NoNewPrivs:\s+1$' "$work/confined"
    grep -qE '^Seccomp:\s+2$' "$work/confined"
    fails grep -qE '^Uid:.*\s0\b' "$work/confined"
    # Even root cannot write there when it sees what the daemon sees.
    fails on_machine nsenter -t "$pid" -m touch /usr/bin/peervault
    fails on_machine nsenter -t "$pid" -m touch /etc/default/peervault
    on_machine nsenter -t "$pid" -m touch $vault/keyring
    mem_limit=$(as_peervault status --json </dev/null | python3 -c '
import json, sys
print(json.load(sys.stdin)["mem_limit_bytes"])')
    shows $((mem_limit + (128 << 20))) MemoryMax
}

test_service_restarts_and_reloads() {
    local pid
    have_service
    keep 3000000
    pid=$(unit MainPID)
    on_machine systemctl restart peervault
    fails shows "$pid" MainPID
    gives_kept
    on_machine sh -c "echo 'log_level = debug' >>$vault/peervault.conf"
    on_machine systemctl reload peervault
    until_true 30 logged 'settings reloaded'
    on_machine systemctl kill -s KILL peervault
    until_true 60 shows 1 NRestarts
    until_true 60 shows active ActiveState
    gives_kept
}

logged() {
    on_machine journalctl -u peervault --no-pager | grep "$1" >/dev/null # reads to the end
}

# Trying again does not help against a typing error.
test_service_stays_down_with_wrong_settings() {
    have_service
    on_machine sh -c 'echo PEERVAULT_LISTEN=nonsense >>/etc/default/peervault'
    fails on_machine systemctl restart peervault
    shows failed ActiveState
    shows 2 ExecMainStatus
    logged PEERVAULT_LISTEN
    on_machine sed -i '$d' /etc/default/peervault
    on_machine systemctl start peervault
    gives_kept
}

test_service_comes_back_after_a_reboot() {
    have_service
    keep 1000
    docker restart -t 30 "$machine"
    until_true 60 booted
    until_true 60 shows active ActiveState
    gives_kept
}

test_service_is_upgraded() {
    local pid
    have_service
    keep 200000
    on_machine sh -c 'echo PEERVAULT_REPLICAS=4 >>/etc/default/peervault'
    pid=$(unit MainPID)
    install_version next
    on_machine dpkg-query -W peervault | grep -F '+next'
    shows active ActiveState
    fails shows "$pid" MainPID
    on_machine grep -qx PEERVAULT_REPLICAS=4 /etc/default/peervault
    gives_kept
}

test_service_is_purged_but_not_its_vault() {
    local advice
    have_service
    as_peervault key export </dev/null >"$work/exported"
    on_machine dpkg -r peervault
    shows inactive ActiveState
    on_machine test -e /etc/default/peervault
    on_machine dpkg -P peervault >"$work/purged" 2>&1
    cat "$work/purged"
    fails on_machine test -e /etc/default/peervault
    fails on_machine test -e /usr/bin/peervault
    [ -z "$(on_machine find /etc/systemd /lib/systemd /usr/lib/systemd -name 'peervault*')" ]
    on_machine test -s $vault/keyring
    install_version now
    have_service
    gives_kept
    on_machine dpkg -P peervault
    advice=$(sed -n 's/^peervault:   //p' "$work/purged")
    on_machine sh -e -c "$advice"
    fails on_machine test -e $vault
    fails on_machine id peervault
}

# peervault-daemon(8), "for each further one".
test_service_takes_the_secrets_of_another() {
    [ -s "$work/exported" ]
    install_version now
    on_machine install -d -o peervault -g peervault -m 0700 $vault
    as_peervault key import - <"$work/exported"
    on_machine sh -c "echo 'peers = first.example:3000' |
        runuser -u peervault -- tee -a $vault/peervault.conf"
    have_service
    as_peervault key export </dev/null | cmp - "$work/exported"
    as_peervault peers </dev/null | grep -F first.example:3000
    docker stop -t 30 "$machine"
    docker rm -v "$machine"
}
