#!/bin/sh
# Ends the testbed in whose directory this file lies: processes, network, disk, cgroups, in this order.
#
#   sh end.sh                  end it now
#   sh end.sh --unless-owned   end it, unless the process that made it still lives
#   sh end.sh --guard          wait on standard input: "keep" leaves it up, end of file (the process
#                              that made it closed the pipe or died, however it died) ends it
#
# It may run twice at a time and after a run that was cut short: every step may find its work done.
set -u
dir=$(dirname "$(readlink -f "$0")")
id=$(basename "$dir")

case "${1:-}" in
--guard)
    read -r word || word=
    [ "$word" = keep ] && exit 0
    ;;
--unless-owned)
    exec 9<"$dir/lock" || exit 0
    flock --nonblock 9 || exit 0
    ;;
esac

for root in /sys/fs/cgroup /sys/fs/cgroup/unified; do
    group=$root/fleet-testbed/$id
    [ -e "$group/cgroup.kill" ] || continue
    echo 1 > "$group/cgroup.kill"
    # 10 s: killed processes are gone in milliseconds unless the kernel is stuck.
    tries=200
    while grep -qs 'populated 1' "$group/cgroup.events" && [ $tries -gt 0 ]; do
        sleep 0.05
        tries=$((tries - 1))
    done
done

[ -e "/run/netns/ftb-$id" ] && ip netns delete "ftb-$id"
mountpoint -q "$dir/disk" && { umount "$dir/disk" 2>/dev/null || umount --lazy "$dir/disk"; }
for root in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    [ -d "$root/fleet-testbed/$id" ] && find "$root/fleet-testbed/$id" -depth -type d -exec rmdir {} \; 2>/dev/null
done
# Only what this tool puts there, and nothing below a disk that would not unmount.
rmdir "$dir/disk" 2>/dev/null || [ ! -e "$dir/disk" ] || exit 1
rm -f "$dir/owner" "$dir/kept" "$dir/lock" "$dir/end.sh"
rmdir "$dir" 2>/dev/null
exit 0
