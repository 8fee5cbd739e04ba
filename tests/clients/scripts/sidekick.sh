#!/bin/sh
# An application and its sidekick: started in one command in the wrong order, on one machine, moved together.
set -eu
dir=$(mktemp -d)
cd "$dir"
cat > kick.service <<'UNIT'
[Service]
ExecStart=/bin/sleep 1d
UNIT
cat > kick-announce.service <<'UNIT'
[Unit]
BindsTo=kick.service
After=kick.service
[Service]
ExecStart=/bin/sh -c 'while :; do echo kick is at %H; sleep 5; done'
[X-Fleet]
MachineOf=kick.service
UNIT
fleetctl start kick-announce.service kick.service
where() { fleetctl list-units --no-legend --full | awk -v unit="$1" '$1 == unit {split($2, a, "/"); print a[1]}'; }
[ -n "$(where kick.service)" ]
[ "$(where kick.service)" = "$(where kick-announce.service)" ]

# As deploy scripts wait for it.
tries=0
until fleetctl list-units --no-legend | grep '^kick-announce.service' | grep -q running; do
    tries=$((tries + 1)); [ $tries -lt 300 ]; sleep 0.2
done
fleetctl stop kick.service 2>/dev/null
until [ "$(fleetctl list-units --no-legend | awk '$1 ~ /^kick/ && $4 == "running"' | wc -l)" -eq 0 ]; do
    tries=$((tries + 1)); [ $tries -lt 600 ]; sleep 0.2
done
fleetctl destroy kick-announce.service kick.service kick.service >destroyed
grep -qx 'Destroyed kick.service' destroyed
# Destroyed already: still success.
fleetctl destroy kick.service
