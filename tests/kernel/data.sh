# The data path: every way to change a file at once, a disk that fills up, a crash under writers.
. ./lib.sh
small=/tmp/data.img
truncate -s $((48 << 20)) $small
loop=$(losetup -f --show $small)

check "a new file system mounts" fresh
count fs-exercise "$MNT" --seeds "${SEEDS:-2}" --operations "${OPERATIONS:-700}"
# User-mode Linux itself walks a process's mappings without their lock when pages of several threads go, and complains of it.
case "$(uname -r)" in
*-bento-*) ;;
*) count fs-race "$MNT" "${RACE_SECONDS:-3}" ;;
esac
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$DEV"

check "a small one is made" make "$loop"
check "it mounts" attach "$loop" "$MNT"
count fs-fill "$MNT"
check "it unmounts" umount "$MNT"
check "fsck finds nothing on it" verify "$loop"

for seed in $(seq "${CRASHES:-3}"); do
	# What lies on the disk already must never show.
	tr '\0' S </dev/zero | dd of="$loop" bs=1M iflag=fullblock 2>/dev/null
	rm -rf /tmp/record
	make "$loop"
	check "crash $seed: it mounts" attach "$loop" "$MNT"
	check "crash $seed: writers run into it" fs-crash write "$MNT" /tmp/record "$seed"
	check "crash $seed: it unmounts" umount "$MNT"
	check "crash $seed: it mounts again" attach "$loop" "$MNT"
	count fs-crash check "$MNT" /tmp/record
	check "crash $seed: it unmounts again" umount "$MNT"
	check "crash $seed: fsck finds nothing" verify "$loop"
done
losetup -d "$loop"
rm -rf $small /tmp/record
finish
