#!/bin/busybox sh
# First program of a guest: loads what the root file system needs, and moves there.
# The root is the host's own, read-only, with a file system in memory above it.
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox mount -t proc none /proc
for module in /modules/*.ko; do /bin/busybox insmod "$module"; done
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro root /lower
/bin/busybox mount -t tmpfs -o mode=0755 none /rw
/bin/busybox mkdir /rw/upper /rw/work
/bin/busybox mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work,xino=on none /root
/bin/busybox mount -t tmpfs -o mode=0755 none /root/run
/bin/busybox mkdir -p /root/run/vm
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none share /root/run/vm
/bin/busybox cp /bin/busybox /root/run/busybox
/bin/busybox umount /proc
/bin/busybox umount /dev
exec /bin/busybox switch_root /root /run/busybox sh /run/vm/guest.sh
