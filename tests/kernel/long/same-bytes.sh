# The same operations, one at a time, each made durable: both hosts leave the same bytes.
. ./lib.sh
[ "$FSTYP" = bento ] || finish
size=32M
mkdir -p /tmp/same
truncate -s $size /tmp/same/kernel.img
mkfs.bento -q -f /tmp/same/kernel.img
cp /tmp/same/kernel.img /tmp/same/server.img

# Every one is waited for: of the file system, and of the directory, which reaches every host.
step() { "$@" && sync -f "$MNT" && sync "$MNT"; }
bytes() { head -c "$2" /dev/zero | tr '\0' "$1"; }
write() { bytes "$2" "$3" | dd of="$1" bs=64k iflag=fullblock "${4:-conv=notrunc}" 2>/dev/null; }

operate() {
	(
		cd "$MNT" || exit 1
		umask 022
		for name in one two three four five six seven eight; do step mkdir "$name" || exit 1; done
		for number in $(seq 30); do step touch "one/file$number" || exit 1; done
		step write one/file1 a 10 && step write one/file2 b 4096 && step write one/file3 c 100000
		step write one/file3 d 5000 && step write one/file4 e 3000000
		for number in $(seq 5 12); do step write "one/file$number" f $((number * 7000)) || exit 1; done
		step ln one/file1 two/hard && step ln -s one/file2 two/soft
		step ln -s "$(printf 'long/%.0s' $(seq 200))" two/far
		step mv one/file5 three/moved && step mv one/file6 one/file7 && step mv four three/four
		step rm one/file8 && step rmdir five
		step truncate -s 50000 one/file9 && step truncate -s 100 one/file10 && step truncate -s 1000000 one/file11
		step fallocate -l 65536 six/allocated && step fallocate -p -o 8192 -l 8192 one/file3
		step mkfifo seven/fifo && step mknod seven/device c 1 3
		step chmod 4711 one/file12 && step chown 1234:70000 one/file13
		step setfattr -n user.short -v value one/file14
		step setfattr -n user.long -v "$(printf 'v%.0s' $(seq 1500))" one/file15
		step setfattr -x user.short one/file14
		for number in $(seq 60); do step touch "eight/$(printf 'n%.0s' $(seq 100))$number" || exit 1; done
		for number in $(seq 1 2 60); do step rm "eight/$(printf 'n%.0s' $(seq 100))$number" || exit 1; done
	)
}

loop=$(losetup -f --show /tmp/same/kernel.img)
check "the kernel mounts its copy" attach "$loop" "$MNT" noatime
check "the kernel does the operations" operate
check "it unmounts" umount "$MNT"
losetup -d "$loop"
loop=$(losetup -f --show /tmp/same/server.img)
check "the server mounts its copy" bento mount "$loop" "$MNT" -o allow_other,default_permissions,suid,dev,noatime
check "the server does the operations" operate
check "the server unmounts" umount "$MNT"
losetup -d "$loop"
check "fsck finds nothing in the kernel's" verify /tmp/same/kernel.img
check "fsck finds nothing in the server's" verify /tmp/same/server.img
check "both hold the same bytes" same-volume /tmp/same/kernel.img /tmp/same/server.img
rm -r /tmp/same
finish
