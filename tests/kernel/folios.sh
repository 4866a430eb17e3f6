# The page cache in folios of several blocks, which reading ahead makes: what is written to one costs no more than it is.
. ./lib.sh
small=/tmp/folios.img
truncate -s $((48 << 20)) $small
loop=$(losetup -f --show $small)

# Sectors written to the disk so far.
written() { awk '{ print $7 }' "/sys/class/block/$(basename "$DEV")/stat"; }
# cached FILE: it is in the page cache, as it is on disk.
cached() { sync -f "$MNT" && echo 3 >/proc/sys/vm/drop_caches && cat "$1" >/dev/null; }
# put FILE BLOCK COUNT: writes blocks, all at once, and makes them durable.
put() {
	head -c $(($3 * 4096)) /dev/urandom >/tmp/block
	dd if=/tmp/block of="$1" bs=$(($3 * 4096)) oflag=seek_bytes seek=$(($2 * 4096)) conv=notrunc,fsync 2>/dev/null
}
# costs SECTORS COMMAND...: at the most so many are written by it.
costs() {
	most=$1 before=$(written)
	shift
	"$@" || return
	cost=$(($(written) - before))
	[ "$cost" -le "$most" ] || { echo "$cost sectors" && return 1; }
}
same() { cmp "$MNT/file" /tmp/copy; }
# both BLOCK COUNT: writes to the file and to its copy, which never leaves memory.
both() { put "$MNT/file" "$1" "$2" && dd if=/tmp/block of=/tmp/copy bs=4096 seek="$1" conv=notrunc 2>/dev/null; }

check "a new file system mounts" fresh
head -c $((8 << 20)) /dev/urandom >/tmp/copy
check "a file is written" cp /tmp/copy "$MNT/file"
check "and read" cached "$MNT/file"
check "one block of it is written as one" costs 100 both 777 1
check "and the next but one" costs 100 both 779 1
check "some that begin within a folio" both 1000 100
check "it holds what was written" same
check "it unmounts" umount "$MNT"
check "it mounts again" attach "$DEV" "$MNT"
check "it still does" same

hole() { truncate -s $((8 << 20)) "$MNT/hole" && cached "$MNT/hole"; }
takes() { sectors=$(stat -c %b "$MNT/hole") && [ "$sectors" -le "$1" ] || { echo "$sectors sectors" && return 1; }; }
check "a hole is read" hole
check "a block is written into it" put "$MNT/hole" 300 1
check "which is all that it takes" takes 16
punch() { fallocate -p -o $(($1 * 4096)) -l $(($2 * 4096)) "$MNT/hole"; }
punched() { punch 256 40 && punch 301 99; }
check "what is around it is punched out" punched
check "which leaves it alone" takes 16
check "and it can be cut within a folio" truncate -s $((300 * 4096 + 100)) "$MNT/hole"
check "and grow there" put "$MNT/hole" 310 1
zeroed() { [ "$(tail -c +$((300 * 4096 + 101)) "$MNT/hole" | head -c $((10 * 4096 - 100)) | tr -d '\0' | wc -c)" = 0 ]; }
check "where it was cut there are zeros" zeroed
check "it takes no more" takes 32
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$DEV"

# A full disk: what is left is used to the last, though a folio that is there wants more.
left() { avail=$(stat -f -c %a "$MNT") && [ "$avail" -le "$1" ] || { echo "$avail blocks" && return 1; }; }
fill_hole() { ! dd if=/dev/zero of="$MNT/hole" bs="$1" count=20000 conv=notrunc 2>/tmp/why && grep -q "No space left" /tmp/why; }
for size in 1M 4k; do
	check "a small one is made" make "$loop"
	check "it mounts" attach "$loop" "$MNT"
	check "it has a hole larger than itself" truncate -s $((256 << 20)) "$MNT/hole"
	check "which is read" cached "$MNT/hole"
	check "it is filled with $size at a time until there is no space" fill_hole "$size"
	check "there is none" left 64
	check "it unmounts" umount "$MNT"
	check "fsck finds nothing" verify "$loop"
done
losetup -d "$loop"
rm -f $small /tmp/copy /tmp/block
finish
