#!/bin/sh
# The first process of a guest: sets the machine up, runs one command, reports its status, switches off.
# /bento/boot, written for each run, says where the terminal is and how a status gets out.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
ln -s /proc/self/fd /dev/fd
mount -t tmpfs tmpfs /dev/shm
mount -t debugfs debug /sys/kernel/debug 2>/dev/null
# Tests whose halves talk to each other do so within the guest.
ip link set lo up
# The kernel asks for modules here, outside the user land below.
echo /bin/modprobe >/proc/sys/kernel/modprobe
. /bento/boot
for driver in $drivers; do modprobe "$driver" 2>/dev/null; done
prepare

# Disks are found by name, whatever order the kernel met them in; where they have none, the kernel's line tells.
DISKS=
for word in $(cat /proc/cmdline); do
	case "$word" in bento.userland=*) userland=${word#*=} ;; esac
done
for disk in /sys/block/vd* /sys/block/ubd*; do
	[ -e "$disk" ] || continue
	name=$(cat "$disk/serial" 2>/dev/null)
	case "$name" in
	userland) userland=/dev/${disk##*/} ;;
	out) out=/dev/${disk##*/} ;;
	*) [ "/dev/${disk##*/}" = "$userland" ] || DISKS="$DISKS${DISKS:+ }/dev/${disk##*/}" ;;
	esac
done
export DISKS

enter=
if [ -n "$userland" ]; then
	mount -t ext4 "$userland" /userland || fail "no user land"
	for dir in /proc /sys /dev /dev/pts /dev/shm /bento /out; do
		mkdir -p "/userland$dir"
		mount --bind "$dir" "/userland$dir"
	done
	mount -t tmpfs tmpfs /userland/tmp
	mkdir -p "/userland/usr/lib/modules"
	mount --bind /usr/lib/modules /userland/usr/lib/modules
	mount --bind /usr/local/bin /userland/usr/local/bin
	enter="chroot /userland"
fi

if [ -n "$interactive" ]; then
	setsid sh -c "exec $enter $shell <$terminal >$terminal 2>&1"
else
	# Held open, so that the settings last: bytes go out as they are.
	exec 3<>"$terminal"
	stty -F "$terminal" raw -echo 2>/dev/null
	setsid sh -c "exec $enter /bin/sh /bento/command <$terminal >$terminal 2>&1"
fi
status=$?
exec 3>&-
dmesg >/out/dmesg
report "$status"
sync
poweroff -f
