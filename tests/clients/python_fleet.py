"""The client "fleet" from PyPI, used as its documentation shows, against one endpoint of a real cluster.

usage: python_fleet.py ENDPOINT PREFIX MACHINES
"""

import sys
import time

import fleet.v1 as fleet

LIMIT_S = 60

endpoint, prefix, machine_count = sys.argv[1], sys.argv[2], int(sys.argv[3])


def say(*words):
    print("   ", *words, flush=True)


def until(what, found):
    """Waits for something to be so; clients of fleet poll."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        seen = found()
        if seen:
            return seen
        assert time.monotonic() < deadline, "not within %d s: %s" % (LIMIT_S, what)
        time.sleep(0.2)


def refused(code, message, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except fleet.APIError as error:
        say("refused:", error.code, error.message)
        assert error.code == code, error
        assert message in error.message, error
    else:
        raise AssertionError("%r was not refused" % (call,))


client = fleet.Client(endpoint)

say("list_machines")
machines = list(client.list_machines())
assert len(machines) == machine_count, machines
for machine in machines:
    assert len(machine.id) == 32 and machine.primaryIP.count(".") == 3, machine
    assert machine.metadata["zone"] in ("a", "b"), machine

say("create_unit from a string, as in the README")
name = prefix + ".service"
text = "[Unit]\nDescription=From python\n\n[Service]\nExecStart=/bin/sleep 1d\n"
unit = fleet.Unit(desired_state="launched", from_string=text)
unit.add_option("X-Fleet", "MachineMetadata", "zone=b")
created = client.create_unit(name, unit)
assert created.name == name and created.desiredState == "launched", created
assert created.options[0] == {"section": "Unit", "name": "Description", "value": "From python"}


def running():
    states = list(client.list_unit_states(unit_name=name))
    assert len(states) <= 1, states
    return states and states[0].systemdSubState == "running" and states[0]


state = until(name + " runs", running)
assert state.systemdActiveState == "active" and state.systemdLoadState == "loaded", state
on = [machine for machine in machines if machine.id == state.machineID][0]
assert on.metadata["zone"] == "b", on
assert [one.name for one in client.list_unit_states(machine_id=on.id) if one.name == name]
got = until("it is called launched", lambda: client.get_unit(name).currentState == "launched" and client.get_unit(name))
assert got.machineID == on.id, got

say("set_desired_state: loaded, launched, inactive")
got.set_desired_state("loaded")
until("it is loaded", lambda: client.get_unit(name).currentState == "loaded" and not running())
client.set_unit_desired_state(name, "launched")
until("it runs again", running)
client.set_unit_desired_state(got, "inactive")
until("nothing is left of it", lambda: not list(client.list_unit_states(unit_name=name)))
assert client.get_unit(name).desiredState == "inactive"

say("more units than a page has")
names = sorted("%s-page@%d.service" % (prefix, n) for n in range(5))
for one in names:
    client.create_unit(one, fleet.Unit(desired_state="inactive", from_string=text))
listed = [unit.name for unit in client.list_units()]
assert [one for one in listed if one in names] == names, listed
assert len(listed) == len(set(listed)), listed
for one in names:
    assert client.destroy_unit(one) is True

say("what is refused is told as the API's own error")
refused(404, "unit does not exist", client.get_unit, "absent.service")
refused(404, "unit does not exist", client.destroy_unit, "absent.service")
refused(409, "options field empty", client.set_unit_desired_state, "absent.service", "launched")
refused(400, "", client.create_unit, "no-type", unit)

say("destroyed and created again at once: the new content wins, every time")
for round in range(5):
    other = fleet.Unit(desired_state="launched", from_string=text.replace("1d", "%dd" % (round + 2)))
    client.destroy_unit(name)
    created = client.create_unit(name, other)
    values = [option["value"] for option in created.options if option["name"] == "ExecStart"]
    assert values == ["/bin/sleep %dd" % (round + 2)], created
until("the last one runs", running)

say("destroy")
assert client.get_unit(name).destroy() is True
assert name not in [unit.name for unit in client.list_units()]
until("nothing is left of it", lambda: not list(client.list_unit_states(unit_name=name)))
refused(404, "unit does not exist", client.destroy_unit, name)
say("done")
