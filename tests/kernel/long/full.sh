# A disk that is full: whoever wrote with success reads it back, and all of the space comes back.
. ./lib.sh
size=$((64 << 20))
small=/tmp/small.img
truncate -s $size $small
loop=$(losetup -f --show $small)

fill() { # fills with files of a size until one fails, keeps their sums
	number=0
	: >/tmp/sums
	while head -c "$2" /dev/urandom >"$MNT/$1$number" 2>/dev/null && sync -f "$MNT/$1$number" 2>/dev/null; do
		(cd "$MNT" && sha256sum "$1$number") >>/tmp/sums
		number=$((number + 1))
		[ $number -lt 100000 ] || return 1
	done
	rm -f "$MNT/$1$number"
	[ $number -gt 0 ]
}

free() { stat -f -c %f "$MNT"; }

make "$loop"
check "it mounts" attach "$loop" "$MNT"
before=$(free)
for size in 4096 100000 3000000; do
	check "files of $size bytes fill it" fill f $size
	check "what was written is there" sh -c "cd $MNT && sha256sum --quiet -c /tmp/sums"
	refuse "a large write says so" dd if=/dev/zero of="$MNT/large" bs=1M count=100 conv=fsync
	rm -f "$MNT/large"
	check "unlink always works" sh -c "rm -f $MNT/f*"
	sync -f "$MNT"
	after=$(free)
	check "the space is back: $before blocks before, $after after" [ "$after" -ge $((before - before / 50)) ]
done
check "writers side by side at the end of space" sh -c "
	for writer in 1 2 3 4; do
		(while dd if=/dev/zero of=$MNT/w\$writer bs=64k count=4 oflag=append conv=notrunc,fsync 2>/dev/null; do :; done) &
	done
	wait
	rm -f $MNT/w*"
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$loop"
losetup -d "$loop"
rm -f $small
finish
