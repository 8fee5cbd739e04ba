# Boots a private systemd --user, seen by nobody else, and ends it with whoever holds this script's standard input.
# Runs as process 1 of its own PID namespace (see private.rs). Arguments: directory for all its files, name of its cgroup.
set -eu
directory=$1
cgroup=$2

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    hierarchies=/sys/fs/cgroup
else
    hierarchies="/sys/fs/cgroup/systemd /sys/fs/cgroup/unified"
fi
for hierarchy in $hierarchies; do
    mkdir -p "$hierarchy/$cgroup"
    echo $$ > "$hierarchy/$cgroup/cgroup.procs"
done

# systemd refuses to run where no system seems to be booted with it.
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
mkdir -p /run/systemd/system

export XDG_RUNTIME_DIR=$directory/run HOME=$directory/home
unset DBUS_SESSION_BUS_ADDRESS XDG_CONFIG_HOME XDG_DATA_HOME XDG_CONFIG_DIRS XDG_DATA_DIRS NOTIFY_SOCKET
units=$HOME/.config/systemd/user
mkdir -p "$units" "$XDG_RUNTIME_DIR"
# None of the host's own user units is started, only a bus: systemd joins no bus but one it started itself.
cat > "$units/nothing.target" <<EOT
[Unit]
Wants=dbus.socket dbus.service
EOT
cat > "$units/dbus.socket" <<EOT
[Socket]
ListenStream=%t/bus
EOT
cat > "$units/dbus.service" <<EOT
[Unit]
Requires=dbus.socket
[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation --nosyslog
EOT
exec 3<&0
/lib/systemd/systemd --user --unit=nothing.target --log-target=console < /dev/null 3<&- &
cat <&3 > /dev/null
