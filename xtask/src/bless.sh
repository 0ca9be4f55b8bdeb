# Plays the demo where nothing is named after this machine, and has the daemon record it: in mount
# and host-name namespaces of its own, from /srv/demo.
#   $1 folder of the programs   $2 the inference server's modules   $3 where the recording goes
set -e
mount -t tmpfs none /srv
mkdir -p /srv/demo/bin /srv/demo/modules
mount --bind "$1" /srv/demo/bin
mount --bind "$2" /srv/demo/modules
echo demo >/proc/sys/kernel/hostname
# Some runtimes read the limits of their cgroup, whose path would be in the recording.
for procs in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
    if [ -w "$procs" ]; then
        echo $$ 2>/dev/null >"$procs" || true
    fi
done
cd /srv/demo
/srv/demo/bin/demo --work-dir /srv/demo/play --node-modules /srv/demo/modules \
    --slmguard /srv/demo/bin/slmguard --record /srv/demo/demo.recording
cp /srv/demo/demo.recording "$3"
