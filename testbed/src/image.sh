#!/bin/sh
# Builds the Debian image that every machine of a testbed is an overlay of: image.sh DIRECTORY
# A change of this text gives the image a new name, so an old one is never mistaken for it.
set -eu
dir=$1

mmdebstrap --quiet --variant=minbase \
    --include=systemd,systemd-sysv,dbus,iproute2,openssh-server,procps bookworm "$dir"

# Not wanted: what works at night, asks at first boot, waits at a console, or reaches for the kernel
# that machines share with the host (modules, sysctl, debugfs).
systemctl --quiet --root="$dir" mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer systemd-firstboot.service console-getty.service getty@.service \
    systemd-modules-load.service systemd-sysctl.service systemd-pstore.service modprobe@.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount dev-hugepages.mount \
    systemd-networkd.service systemd-networkd.socket
systemctl --quiet --root="$dir" set-default multi-user.target

# Each machine gets its own of these when it is made.
rm -f "$dir"/etc/ssh/ssh_host_* "$dir/etc/hostname" "$dir/etc/resolv.conf" "$dir/etc/machine-id"

# fleetctl logs in as "core" unless told otherwise.
chroot "$dir" useradd --create-home --shell /bin/bash core

# Logs in memory and unlimited: a test reads them all, and a dead machine's are gone as in life.
mkdir -p "$dir/etc/systemd/journald.conf.d"
cat > "$dir/etc/systemd/journald.conf.d/testbed.conf" <<'END'
[Journal]
Storage=volatile
RateLimitIntervalSec=0
END

# The address is static and set inside, so that it is there before anything that needs a network.
cat > "$dir/etc/systemd/system/testbed-network.service" <<'END'
[Unit]
Description=Static address of this machine in its testbed
DefaultDependencies=no
After=local-fs.target
Before=network.target network-online.target sysinit.target
Wants=network.target network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/testbed/network
ExecStart=/sbin/ip link set dev lo up
ExecStart=/sbin/ip link set dev host0 up
ExecStart=/sbin/ip address replace ${ADDRESS} dev host0
ExecStart=/sbin/ip route replace default via ${GATEWAY}

[Install]
WantedBy=sysinit.target
END
systemctl --quiet --root="$dir" enable testbed-network.service
