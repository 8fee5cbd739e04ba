#!/bin/sh
# The loop of fleetctl-inject-ssh.sh and its like: every machine by its bare id, and what is there.
set -eu
count=0
for machine in $(fleetctl list-machines --no-legend --full | awk '{print $1;}'); do
    case $machine in
        *[!0-9a-f]*) echo "not a bare id: $machine"; exit 1 ;;
    esac
    ip=$(fleetctl list-machines --no-legend --full --fields=machine,ip | awk -v id="$machine" '$1 == id {print $2}')
    units=$(fleetctl list-units --no-legend --full | awk -v id="$machine" '{split($2, a, "/"); if (a[1] == id) n++} END {print n+0}')
    echo "$machine $ip $units"
    count=$((count + 1))
done
[ "$count" -eq "$(fleetctl list-machines --no-legend | wc -l)" ]
# The short form that people grep for.
fleetctl list-machines | head -n 1 | grep -q '^MACHINE'
fleetctl list-machines --no-legend | grep -q '^[0-9a-f]\{8\}\.\.\.'
# Metadata: k=v with commas, or a dash.
fleetctl list-machines --no-legend --fields=metadata | grep -q 'zone=a'
