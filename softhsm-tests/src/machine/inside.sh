# Becomes the init of a machine that sees this one's files and changes none of them.
#
#   inside FOLDER PROGRAM…
#
# What is written goes to memory, but for what is written to FOLDER. The PROGRAMs are in
# /usr/bin.
set -euo pipefail
folder=$1
shift
there=$folder/machine
root=$there/root

mount -t overlay overlay -o "lowerdir=/,upperdir=$there/upper,workdir=$there/work" "$root"
mount -t proc proc "$root/proc"
# These settings are the whole machine's.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t tmpfs -o mode=755 dev "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
touch "$root/dev/kmsg"
mount --bind "$there/log" "$root/dev/kmsg"
ln -s pts/ptmx "$root/dev/ptmx"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done

mkdir -p "$root$folder"
mount --bind "$folder" "$root$folder"
for program in "$@"; do
    touch "$root/usr/bin/${program##*/}"
    mount --bind "$program" "$root/usr/bin/${program##*/}"
done

# Of the units that are installed, those that a machine cannot do without.
units=$root/usr/lib/systemd/system
cp "$units"/{basic,final,local-fs,multi-user,network,paths,shutdown,slices,sockets,sysinit,timers,umount}.target \
    "$units"/dbus.{service,socket} "$there/units"
mkdir "$there/units/sockets.target.wants"
ln -s ../dbus.socket "$there/units/sockets.target.wants"
mount --bind "$there/units" "$units"
mount -t tmpfs -o mode=755 units "$root/etc/systemd/system"
mount -t tmpfs -o mode=755 generators "$root/usr/lib/systemd/system-generators"
echo "stranger:x:1234:1234:A user of tests:/:/usr/sbin/nologin" >>"$root/etc/passwd"
echo "stranger:x:1234:" >>"$root/etc/group"
rm -f "$root/etc/machine-id"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"

mkdir "$root/run/outside"
cd "$root"
pivot_root . run/outside
umount --lazy /run/outside
rmdir /run/outside
# What a service's own processes mount for it must show.
mount --make-rshared /
exec env -i container=custodyd-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --system --unit=multi-user.target \
    --log-target=kmsg --show-status=no
