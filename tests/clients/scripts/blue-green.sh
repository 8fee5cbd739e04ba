#!/bin/bash
# A new version beside the old one, switched when it runs, from two templates.
set -eu -o pipefail
dir=$(mktemp -d)
cd "$dir"
for colour in blue green; do
    cat > "shop-$colour@.service" <<UNIT
[Unit]
Description=The shop, $colour %i
[Service]
ExecStart=/bin/sh -c 'echo $colour %i; exec sleep 1d'
[X-Fleet]
Conflicts=shop-$colour@*.service
UNIT
done

running() {
    fleetctl list-units --no-legend | awk -v unit="^shop-$1@" '$1 ~ unit && $4 == "running"' | wc -l
}

fleetctl submit shop-blue@.service shop-green@.service
fleetctl start shop-blue@{1..2}
[ "$(running blue)" -eq 2 ]
# The files are not needed any more: the cluster has the templates.
rm ./*.service
fleetctl start shop-green@{1..2}
[ "$(running green)" -eq 2 ]
for n in 1 2; do
    fleetctl stop "shop-blue@$n.service" 2>stopped
    grep -q "Successfully stopped units" stopped
done
[ "$(running blue)" -eq 0 ]
fleetctl cat shop-blue@1.service | grep -q 'Description=The shop, blue %i'
fleetctl destroy shop-blue@{1..2}.service shop-blue@.service | grep -c '^Destroyed ' | grep -qx 3
# Different machines, as Conflicts asks.
machines=$(fleetctl list-units --no-legend --full | awk '$1 ~ /^shop-green@/ {print $2}' | sort -u | wc -l)
[ "$machines" -eq 2 ]
fleetctl destroy shop-green@1.service shop-green@2.service shop-green@.service
if fleetctl list-unit-files --no-legend | grep '^shop-'; then exit 1; fi
