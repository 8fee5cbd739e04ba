#!/bin/bash
# list-units by white space: states counted, addresses taken out of ID/IP, failed units found, wc -l.
set -eu -o pipefail
dir=$(mktemp -d)
cd "$dir"
cat > parsed@.service <<'UNIT'
[Service]
ExecStart=/bin/sleep 1d
UNIT
cat > parsed-failed.service <<'UNIT'
[Service]
ExecStart=/bin/false
UNIT
errors=$(fleetctl start parsed@1.service parsed@2.service 2>&1 >/dev/null)
[ -z "$errors" ] || { echo "start said on stderr: $errors"; exit 1; }
fleetctl start --no-block parsed-failed.service
until fleetctl list-units --no-legend | awk '{print $1, $3}' | grep -qx 'parsed-failed.service failed'; do sleep 0.2; done

fleetctl list-units --no-legend | awk '$1 ~ /^parsed@/ {print $1, $3, $4}' | sort > rows
printf '%s\n' 'parsed@1.service active running' 'parsed@2.service active running' | cmp - rows
[ "$(fleetctl list-units --no-legend | grep -c '^parsed@')" -eq 2 ]
# ID.../IP, split as in coreos/fleet#960.
fleetctl list-units | grep parsed@1 | awk '{split($2, a, "/"); print a[2]}' | grep -q '^[0-9.]*$'
# Tabs, one or more, and exactly four columns.
[ "$(fleetctl list-units --no-legend | awk -F'\t+' '{print NF}' | sort -u)" = 4 ]
[ "$(fleetctl list-units --no-legend --full --fields=unit,load,active,sub,machine | awk '{print NF}' | sort -u)" = 5 ]
# node-fleetctl: any byte on stderr is an error.
[ -z "$(fleetctl list-units -l --full --no-legend 2>&1 >/dev/null)" ]
# The word a monitor looks for.
[ "$(fleetctl list-units | awk '$3 == "failed" {print $1}')" = parsed-failed.service ]
fleetctl list-unit-files --no-legend --fields=unit,dstate,state | grep -q '^parsed@1.service[[:space:]]*launched[[:space:]]*launched$'

fleetctl destroy parsed@1.service parsed@2.service parsed-failed.service parsed@.service
[ "$(fleetctl list-units --no-legend | grep -c '^parsed' || true)" -eq 0 ]
