# A panic in Rust, seeded in each place where an operation can hold something: it ends that operation, and the others go on.
. ./lib.sh
[ "$FSTYP" = bento ] || finish
mnt2=/mnt/test2
mkdir -p "$mnt2"

seed() { echo "$1" >/sys/module/bento_fs_faulty/parameters/fault; }
to() { bento upgrade --to "$1" "$2"; }
state() { cat "/sys/fs/bento/${1##*/}/state"; }
is() { [ "$(state "$1")" = "$2" ] || { state "$1"; false; }; }
# Reads and changes what is not cached: whatever was seeded is met.
provoke() { # PLACE
	seed "$1" && echo 3 >/proc/sys/vm/drop_caches
	mkdir "$MNT/$1"
}
# Every change of one kind ends in the journal.
provoke_journal() { # PLACE
	mkdir "$MNT/$1.before" && seed "$1" && sync -f "$MNT"
}
goes_on() { # NAME
	mkdir "$MNT/$1.after" && echo "$1" >"$MNT/$1.after/file" && sync -f "$MNT/$1.after/file" &&
		grep -qx "$1" "$MNT/$1.after/file"
}

make "$DEV" && make "$DEV2"
check "the module with the faults loads" modprobe bento_fs_faulty
check "it mounts" attach "$DEV" "$MNT"
check "a second volume mounts beside it" attach "$DEV2" "$mnt2"
check "the first moves to the faulty version" to bento-fs-faulty "$MNT"
echo kept >"$MNT/kept" && sync -f "$MNT/kept"

for place in operation overflow message lock latch slot group; do
	refuse "$place: the operation fails" provoke "$place"
	check "$place: the mount says that it panicked" is "$DEV" panicked
	refuse "$place: then everything fails" touch "$MNT/more"
	check "$place: the other volume goes on" touch "$mnt2/$place"
	check "$place: the same version takes over" to bento-fs-faulty "$MNT"
	check "$place: the mount is well again" is "$DEV" read-write
	check "$place: what failed did not happen" test ! -e "$MNT/$place"
	check "$place: it goes on" goes_on "$place"
done
check "another version takes over too" sh -c "
	echo lock >/sys/module/bento_fs_faulty/parameters/fault; echo 3 >/proc/sys/vm/drop_caches
	! mkdir $MNT/other 2>/dev/null && bento upgrade --to bento-fs $MNT && mkdir $MNT/other"

# Data that was written before the panic is not lost with it.
to bento-fs-faulty "$MNT" >/dev/null
echo "written before" >"$MNT/dirty"
refuse "a panic while data waits to be written" provoke operation
refuse "then fsync fails" sync "$MNT/dirty"
check "a version takes over" to bento-fs-faulty "$MNT"
check "what had waited is written" sync -f "$MNT"
check "it unmounts" umount "$MNT"
check "it mounts again" attach "$DEV" "$MNT"
check "and the data is there" grep -qx "written before" "$MNT/dirty"

for place in join merge; do
	to bento-fs-faulty "$MNT" >/dev/null
	refuse "$place: the operation fails" provoke "$place"
	check "$place: the batch is poisoned" is "$DEV" poisoned
	refuse "$place: no version takes that over" to bento-fs "$MNT"
	check "$place: the other volume goes on" touch "$mnt2/$place"
	check "$place: it unmounts" umount "$MNT"
	check "$place: fsck finds nothing that recovery does not mend" fsck.bento -y -f "$DEV"
	check "$place: it mounts again" attach "$DEV" "$MNT"
	check "$place: what was synced is there" grep -qx kept "$MNT/kept"
	check "$place: what failed did not happen" test ! -e "$MNT/$place"
done
for place in drive journal; do
	to bento-fs-faulty "$MNT" >/dev/null
	refuse "$place: the sync fails" provoke_journal "$place"
	check "$place: the mount is shut down" is "$DEV" shut-down
	refuse "$place: no version takes that over" to bento-fs "$MNT"
	check "$place: it unmounts" umount "$MNT"
	check "$place: it mounts again" attach "$DEV" "$MNT"
	check "$place: what was synced is there" grep -qx kept "$MNT/kept"
	check "$place: and it takes changes" goes_on "$place"
done

check "it unmounts" umount "$MNT"
check "the other unmounts" umount "$mnt2"
check "the plain module can go" rmmod bento_fs
# Without others a mount takes the one that is left.
lsmod | grep -q '^bento_prov' && others=bento_prov && rmmod bento_prov
seed mount
refuse "a panic while it is mounted is an error of mount" attach "$DEV" "$MNT"
check "the next time it mounts" attach "$DEV" "$MNT"
check "it unmounts" umount "$MNT"
check "the faulty module can go" rmmod bento_fs_faulty
check "the plain one loads again" modprobe bento_fs
[ -z "${others:-}" ] || modprobe "$others"
check "the volume is in order" verify "$DEV"
check "and the other" verify "$DEV2"
finish
