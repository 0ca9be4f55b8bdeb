# Process 1 of a guest, after the move to the real root: mounts what a machine has, runs the one
# command it was started for (/run/vm/command.sh), leaves the exit status, and powers off.
b=/run/busybox
$b mount -t proc none /proc
$b mount -t sysfs none /sys
$b mount -t devtmpfs none /dev
exec </dev/null >/dev/console 2>&1
$b mkdir -p /dev/pts /dev/shm
$b mount -t devpts -o gid=5,mode=620,ptmxmode=666 none /dev/pts
$b mount -t tmpfs none /dev/shm
$b mount -t securityfs none /sys/kernel/security
$b mount -t tracefs none /sys/kernel/tracing
$b mount -t debugfs none /sys/kernel/debug
$b mount -t bpf none /sys/fs/bpf
$b mount -t cgroup2 none /sys/fs/cgroup
$b mkdir -p /lib/modules
. /run/vm/facts.sh
$b mount -o bind "$modules" /lib/modules
$b ip link set lo up
$b hostname vm
ulimit -c 0
ulimit -n 65536

# The command writes to pipes, as under any test runner; two cats carry them to the host.
$b mkfifo /run/stdout /run/stderr
$b cat /run/stdout >>/run/vm/stdout & out=$!
$b cat /run/stderr >>/run/vm/stderr & err=$!
$b setsid /bin/sh /run/vm/command.sh >/run/stdout 2>/run/stderr & command=$!
wait $command
status=$?

# Left-over processes may hold the pipes; what is in the pipes by now still arrives.
n=0
while [ $n -lt 40 ] && { kill -0 $out || kill -0 $err; } 2>/dev/null; do
    $b usleep 50000
    n=$((n + 1))
done
$b dmesg >/run/vm/dmesg.log
echo $status >/run/vm/status.tmp
$b mv /run/vm/status.tmp /run/vm/status
$b sync
$b poweroff -f
