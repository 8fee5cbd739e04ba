"""What monitors and dashboards do, with nothing but HTTP: health, metrics, events that resume, status and journal.

usage: monitors.py HOST:PORT MACHINE_ID
"""

import http.client
import json
import sys
import time

host, machine = sys.argv[1], sys.argv[2]
LIMIT_S = 60


def say(*words):
    print("   ", *words, flush=True)


def ask(method, path, body=None):
    connection = http.client.HTTPConnection(host, timeout=LIMIT_S)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    response = connection.getresponse()
    return response.status, response.read().decode()


def events(last=None):
    """Reads up to `synced`: (name, id, data) of each event, the stream still open."""
    connection = http.client.HTTPConnection(host, timeout=LIMIT_S)
    connection.request("GET", "/fleet/v1/events", headers={"Last-Event-ID": last} if last else {})
    response = connection.getresponse()
    assert response.status == 200, response.status
    found, fields, last_id = [], {}, None
    while not found or found[-1][0] != "synced":
        line = response.readline().decode().rstrip("\n")
        assert line or fields, "the stream ended"
        if line:
            key, _, value = line.partition(": ")
            fields[key] = value
        else:
            last_id = fields.get("id", last_id)
            found.append((fields["event"], last_id, json.loads(fields["data"])))
            fields = {}
    connection.close()
    return found


say("healthz, openapi.json")
assert ask("GET", "/healthz") == (200, "ok\n")
document = json.loads(ask("GET", "/openapi.json")[1])
assert "/fleet/v1/units/{unitName}" in document["paths"]

say("events: all, then only what was missed")
name = "monitored.service"
ask("DELETE", "/fleet/v1/units/" + name)
everything = events()
assert {"machine"} <= {kind for kind, _, _ in everything}, everything
deadline = time.monotonic() + LIMIT_S
last, missed = None, everything
while [kind for kind, _, _ in missed] != ["resumed", "synced"]:
    # What was done here before (units destroyed, metadata edited) still arrives.
    assert time.monotonic() < deadline, missed
    last = missed[-1][1]
    time.sleep(1)
    missed = events(last)
options = [
    {"section": "Service", "name": "ExecStart", "value": "/bin/sh -c 'echo monitored; exec sleep 1d'"},
    {"section": "X-Fleet", "name": "MachineID", "value": machine},
]
status, _ = ask("PUT", "/fleet/v1/units/" + name, {"desiredState": "launched", "options": options})
assert status == 201, status
while True:
    missed = events(last)
    assert missed[0][0] == "resumed", missed
    assert not [kind for kind, _, _ in missed if kind == "machine"], missed
    assert {data["name"] for kind, _, data in missed if kind in ("unit", "state")} <= {name}, missed
    # Assigned and not yet reported, a state is told as gone.
    if [data for kind, _, data in missed if kind == "state" and data.get("systemdSubState") == "running"]:
        break
    assert time.monotonic() < deadline, missed
assert events("1")[0][0] != "resumed", "nobody remembers the beginning"

say("metrics")
status, text = ask("GET", "/metrics")
assert status == 200, text
for line in [
    'fleet_unit_state{unit="%s",machine="%s",active="active"} 1' % (name, machine),
    'fleet_units{desired="launched"} 1',
    "fleet_store_up 1",
]:
    assert line in text.splitlines(), "%s in\n%s" % (line, text)
assert "fleet_engine_reconcile_count_total " in text, text

say("status and journal, where the unit is")
status, text = ask("GET", "/fleet/v1/units/%s/status" % name)
assert status == 200 and "Active: active (running)" in text, (status, text)
while "monitored" not in ask("GET", "/fleet/v1/units/%s/journal" % name)[1]:
    assert time.monotonic() < deadline, "nothing in the journal"
    time.sleep(0.2)

say("gone is told as gone")
last = events()[-1][1]
assert ask("DELETE", "/fleet/v1/units/" + name)[0] == 204
while ("state", True) not in [(kind, data.get("gone")) for kind, _, data in events(last)]:
    assert time.monotonic() < deadline, events(last)
    time.sleep(0.2)
gone = [(kind, data.get("gone")) for kind, _, data in events(last)]
assert ("unit", True) in gone, gone
say("done")
