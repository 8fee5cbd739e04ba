
# Names of units and machines, from the cluster. No cluster, no names.
_fleetctl_names() {
    local -a names
    names=("${(@f)$(fleetctl --request-timeout=2 --ssh-timeout=2 complete $1 </dev/null 2>/dev/null)}")
    compadd -a names
}
_fleetctl_units() { _fleetctl_names units }
_fleetctl_machines() { _fleetctl_names machines }
_fleetctl_units_and_machines() { _fleetctl_names units; _fleetctl_names machines }
_fleetctl_units_and_files() { _fleetctl_names units; _files }
