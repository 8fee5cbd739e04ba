#!/bin/bash
# Several endpoints, of which some are down: a port nobody listens on, a socket that is not there, a host that is not.
set -eu -o pipefail
dead=http://127.0.0.1:1,unix:///run/no-such.sock
wanted=$(fleetctl list-machines --full --no-legend)
for endpoint in \
    "$dead,unix:///run/fleet.sock" \
    "unix:///run/fleet.sock,$dead" \
    "http://10.77.0.99:49153,unix:///run/fleet.sock"
do
    echo "$endpoint"
    [ "$(fleetctl --endpoint="$endpoint" list-machines --full --no-legend 2>said)" = "$wanted" ]
    [ ! -s said ] || { cat said; exit 1; }
    [ "$(FLEETCTL_ENDPOINT="$endpoint" fleetctl list-machines --full --no-legend)" = "$wanted" ]
done
rm said
# A change is made once, whoever makes it.
printf '[Service]\nExecStart=/bin/sleep 1d\n' > /tmp/endpoints.service
fleetctl --endpoint="$dead,unix:///run/fleet.sock" start /tmp/endpoints.service
[ "$(fleetctl list-units --no-legend | grep -c '^endpoints.service')" -eq 1 ]
fleetctl --endpoint="$dead,unix:///run/fleet.sock" destroy endpoints.service
# All down: one clear error, soon.
if timeout 30 fleetctl --endpoint="$dead" list-machines 2>said; then exit 1; fi
cat said
grep -q 'no-such.sock\|127.0.0.1:1' said
rm said
