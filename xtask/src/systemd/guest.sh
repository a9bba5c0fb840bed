#!/bin/bash
# What an administrator does with the package, on a system that has systemd as its init. Runs in the machine of
# `cargo xtask vm-systemd`. Each step says what it saw; the first that fails ends it.
set -u
. /test/facts
unit=thread-probe.service
daemon=http://127.0.0.1:10420
config=/etc/thread-probe/config.toml
socket=/run/thread-probe/thread-probe.sock

ok() { printf '  %5.0f s  %s\n' "$SECONDS" "$*"; }

fail() {
    echo "$*" >&2
    systemctl status --no-pager --full "$unit" >&2
    journalctl --no-pager --lines 60 --unit "$unit" >&2
    exit 1
}

# expect WHAT COMMAND...: the command must succeed.
expect() { what=$1; shift; "$@" >/tmp/said 2>&1 || fail "$what: failed: $* said: $(cat /tmp/said)"; }
# refuse WHAT COMMAND...: it must not.
refuse() { what=$1; shift; if "$@" >/tmp/said 2>&1; then fail "$what: not refused: $* said: $(cat /tmp/said)"; fi; }
# Until the command succeeds; everything takes long here.
wait_for() {
    what=$1; shift
    end=$((SECONDS + 60))
    until "$@" >/tmp/said 2>&1; do
        ((SECONDS < end)) || fail "$what: not after a minute: $* said: $(cat /tmp/said)"
        sleep 0.1
    done
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }
property() { systemctl show --property "$1" --value "$unit"; }
is_property() { [ "$(property "$1")" = "$2" ]; }
main_pid() { property MainPID; }
field() { awk -v name="$1:" '$1 == name { $1 = ""; print substr($0, 2) }' "/proc/$(main_pid)/status"; }
get() { (exec 3<>/dev/tcp/127.0.0.1/10420 && printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&3 && cat <&3) 2>/dev/null; }
scraped() { get /metrics >/tmp/metrics && grep -q '^threadprobe_host_threads' /tmp/metrics; }
metric() { scraped && awk -v name="$1" '$1 == name { print $2 }' /tmp/metrics; }
grown() { (($(metric "$1" | cut -d . -f 1) > $2)); }
logged() { journalctl --no-pager --unit "$unit" | grep -q -- "$1"; }
logged_at() { journalctl --no-pager --unit "$unit" --priority "$1" --output cat | grep -q -- "$2"; }
processes() { thread-probe top --batch -n 1 --url "$daemon" --format csv --columns pid,user,comm; }
sees() { processes | grep -q -- "$1"; }
as() { setpriv --reuid "$1" --regid "$1" --init-groups "${@:2}"; }
# Restarted by systemd, not by us, so often.
restarted() { is_property NRestarts "$1" && is_property ActiveState active && scraped; }

slower=$({ eval "$LOOP"; } 2>&1 | awk -v there="$LOOP_SECONDS_THERE" '$1 == "real" { slower = $2 / there; printf "%d", slower < 1 ? 1 : slower }')
ok "booted $(systemctl --version | head -n 1), Linux $(uname -r); this machine is $slower times slower than its host"

find / -xdev -not -path '/test/*' -name '*thread-probe*' >/tmp/before
expect install dpkg -i /test/thread-probe.deb
expect "active after the installation" systemctl is-active "$unit"
expect "enabled after the installation" systemctl is-enabled "$unit"
expect "its configuration" thread-probe config check "$config"
expect "files" ls /usr/share/man/man1/thread-probe.1.gz /usr/share/man/man1/thread-probe-serve.1.gz \
    /usr/share/bash-completion/completions/thread-probe /usr/share/thread-probe/dashboards/README.md
ok "dpkg -i: active, enabled, with man pages, completions and dashboards"

expect stop systemctl stop "$unit"
refuse "its socket after it was stopped" ls "$socket"
start=$(now_ms)
expect start systemctl start "$unit"
ready=$(now_ms)
until scraped; do sleep 0.01; done
scrape=$(now_ms)
here=$(((scrape - start) / slower))
# 2 s are aimed at, and a tenth of that is usual; but what else runs on the host meanwhile counts here.
((here < 10000)) || fail "scraped $((scrape - start)) ms after its start, $here ms at the host's speed: far from 2 s"
ok "systemctl start: ready after $((ready - start)) ms, scraped after $((scrape - start)) ms, $here ms at the host's speed"

status=$(property StatusText)
for part in " processes with " "; lost " "clone probe fexit" "listening on 127.0.0.1:10420 and $socket"; do
    case $status in *"$part"*) ;; *) fail "no '$part' in its status: $status" ;; esac
done
ok "status: $status"

expect "what each systemd thinks of the sandbox" systemd-analyze security --offline=true --threshold=15 \
    /usr/lib/systemd/system/thread-probe.service
ok "$(tail -n 1 /tmp/said | cut -d ' ' -f 2-)"

for set in CapInh CapPrm CapEff CapAmb; do
    [ "$(field $set)" = 0000000000000000 ] || fail "$set is $(field $set)"
done
[ "$(field NoNewPrivs) $(field Seccomp)" = "1 2" ] || fail "NoNewPrivs $(field NoNewPrivs), Seccomp $(field Seccomp)"
[ "$(stat -c %U "/proc/$(main_pid)")" = thread-probe ] || fail "it runs as $(stat -c %U "/proc/$(main_pid)")"
[ "$(stat -c '%a %U %G' $socket)" = "660 thread-probe thread-probe" ] || fail "the socket: $(stat -c '%a %U %G' $socket)"
refuse warnings logged " WARN .*telling"
ok "runs as $(stat -c %U "/proc/$(main_pid)") without a capability, with $(field Threads) threads in $(($(property MemoryCurrent) / 1024 / 1024)) MiB"
journalctl --no-pager --unit "$unit" --priority warning --output cat | sort -u | sed 's/^/           it warns: /'

sed -i '0,/^interval = .*/s//interval = "1s"/; s/^warning = 0.8$/warning = 0.7/' "$config"
last=$(metric threadprobe_config_last_reload_success_timestamp_seconds | cut -d . -f 1)
pid=$(main_pid)
sleep 1
expect reload systemctl reload "$unit"
wait_for "a reload in the metrics" grown threadprobe_config_last_reload_success_timestamp_seconds "$last"
expect "what the log says of it" logged "reloaded changed=interval, alerts.rules.limit_use"
cp "$config" /tmp/good
echo 'nonsense = 1' >>"$config"
refuse "a wrong file" systemctl reload "$unit"
expect "the reason in the log, as an error" logged_at err 'unknown key "nonsense"'
refuse "what is no error among the errors" logged_at err 'reloaded changed'
expect "the same among what is worth a note" logged_at info 'reloaded changed'
refuse "a second time in a line" logged_at debug '^20[0-9][0-9]-[01][0-9]-'
cp /tmp/good "$config"
[ "$(main_pid)" = "$pid" ] && is_property ActiveState active || fail "a reload changed more than the configuration"
ok "systemctl reload: takes over the interval; a wrong file is refused and the daemon goes on"

setpriv --reuid nobody --regid nogroup --clear-groups sleep 1000 &
wait_for "the first process" sees ",1,root,systemd$"
wait_for "a kernel thread" sees ",2,root,kthreadd$"
wait_for "root's process" sees ",$$,root,run$"
wait_for "nobody's process" sees ",$!,nobody,sleep$"
ok "it sees all processes: systemd, a kernel thread, root's and nobody's; $(($(processes | wc -l) - 1)) where /proc has $(ls -d /proc/[0-9]* | wc -l)"
kill $!

expect "two users" useradd member
expect "two users" useradd other
expect "a member of its group" usermod --append --groups thread-probe member
expect "top of a member over the socket" as member thread-probe top --batch -n 1 --top 3 --sort threads
head -n 3 /tmp/said | cut -c 1-100 | sed 's/^/           /'
refuse "top of somebody else over the socket" as other thread-probe top --batch -n 1
ok "top over the socket: for a member of the group thread-probe, not for others: $(cat /tmp/said)"

records=/var/lib/thread-probe/records
wait_for "samples that are kept" grown threadprobe_recorded_samples_total 1
expect "a replay by a member of its group" as member thread-probe ps --replay $records -n 3
refuse "a replay by somebody else" as other thread-probe ps --replay $records
[ "$(metric threadprobe_recording_lost_samples_total)" = 0 ] || fail "samples were lost"
ok "keeps its samples in $records ($(stat -c '%a %U %G' $records)), which a member of its group replays, and others not"

# Twice: at the first, Rust's handler waits for the fault to come again.
pid=$(main_pid)
kill -SEGV "$pid"
sleep 0.5
kill -SEGV "$pid"
wait_for "a restart after SIGSEGV" restarted 1
kill -KILL "$(main_pid)"
wait_for "a restart after SIGKILL" restarted 2
ok "SIGSEGV and SIGKILL: restarted each time"

mkdir /etc/systemd/system/$unit.d
printf '[Service]\nWatchdogSec=4s\n' >/etc/systemd/system/$unit.d/test.conf
systemctl daemon-reload
systemctl reset-failed "$unit"
expect restart systemctl restart "$unit"
sleep 8
is_property NRestarts 0 || fail "the watchdog ended a daemon that is well"
start=$(now_ms)
kill -STOP "$(main_pid)"
wait_for "a restart by the watchdog" restarted 1
expect "the watchdog" logged "Watchdog timeout"
ok "SIGSTOP: killed by the watchdog and restarted, scraped again after $(($(now_ms) - start)) ms"
rm -r /etc/systemd/system/$unit.d
systemctl daemon-reload
systemctl reset-failed "$unit"

expect "the same version again" dpkg -i /test/thread-probe.deb
wait_for "a scrape after that" scraped
expect "the configuration kept" cmp /tmp/good "$config"
ok "dpkg -i again: restarted, with the configuration as it was changed"

expect remove dpkg -r thread-probe
refuse "the daemon after the removal" get /metrics
expect "the configuration after the removal" ls "$config"
refuse "the socket after the removal" ls "$socket"
# As thread-probe bench leaves it.
mkdir -p /var/lib/thread-probe && touch /var/lib/thread-probe/calibration.json
expect purge dpkg -P thread-probe
refuse "the user after the purge" getent passwd thread-probe
refuse "the group after the purge" getent group thread-probe
find / -xdev -not -path '/test/*' -name '*thread-probe*' >/tmp/after
expect "files left behind" cmp /tmp/before /tmp/after
systemctl daemon-reload
refuse "the unit after the purge" systemctl cat "$unit"
[ -z "$(systemctl --failed --no-legend --plain 'thread-probe*')" ] || fail "it is left behind as failed"
ok "dpkg -r, dpkg -P: no file, user or group left"
