# The shutdown ioctl under load, again and again; what was synced before is there after recovery.
. ./lib.sh
rounds=${ROUNDS:-30}
work() { # many short operations, until the file system says no
	number=0
	while mkdir -p "$MNT/d$((number % 7))" && echo $number >"$MNT/d$((number % 7))/f$number" &&
		mv "$MNT/d$((number % 7))/f$number" "$MNT/g$((number % 50))"; do
		number=$((number + 1))
	done 2>/dev/null
}

check "a new file system mounts" fresh
for round in $(seq "$rounds"); do
	echo "$round" >"$MNT/synced$round" && sync -f "$MNT/synced$round"
	for writer in 1 2 3; do work & done
	sleep 0.$((round % 5 + 1))
	# Every third time without writing the log: what was not synced is gone, and nothing else.
	how=$((round % 3))
	check "round $round: shutdown" fs-shutdown "$MNT" $how
	wait
	refuse "round $round: nothing can be written any more" touch "$MNT/after"
	check "round $round: it unmounts" umount "$MNT"
	check "round $round: it mounts again" attach "$DEV" "$MNT"
	check "round $round: what was synced is there" grep -qx "$round" "$MNT/synced$round"
	check "round $round: it unmounts again" umount "$MNT"
	check "round $round: fsck finds nothing" verify "$DEV"
	check "round $round: and it mounts" attach "$DEV" "$MNT"
done
check "it unmounts" umount "$MNT"
finish
