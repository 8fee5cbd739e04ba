# Prints what failed on this machine, and fleet's journal with the fields of each message, which
# journalctl's short form leaves out; times in seconds, to compare between machines.
systemctl --failed --no-legend --plain
journalctl --no-pager --quiet --lines=80 --unit=fleet.service --output=export | awk '
    /^__REALTIME_TIMESTAMP=/ { time = substr($0, 22) % 1000000000 / 1000000 }
    /^MESSAGE=/ { message = substr($0, 9) }
    /^FLEET_/ { fields = fields "  " tolower(substr($0, 7)) }
    /^$/ { printf "%10.3f %s%s\n", time, message, fields; message = fields = "" }'
