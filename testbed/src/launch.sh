#!/bin/sh
# Becomes one machine: launch.sh NAME MACHINE_ID LOWER DIRECTORY CGROUP...
# Runs in the testbed's network namespace and in a mount namespace of its own, so the overlay is gone
# when the machine is. Without a systemd on the host machines would share a cgroup and kill each
# other's processes, so the shell first moves to the cgroup it was given, in every hierarchy.
set -eu
name=$1 machine_id=$2 lower=$3 dir=$4
shift 4
for cgroup in "$@"; do
    echo $$ > "$cgroup/cgroup.procs"
done
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
exec systemd-nspawn --quiet --register=no --keep-unit --directory="$dir/root" --boot \
    --machine="$name" --uuid="$machine_id" --network-bridge=br0 --link-journal=no --capability=all \
    --console=read-only --resolv-conf=off --timezone=off --notify-ready=yes
