# Mounting, unmounting, and what is refused.
. ./lib.sh
mnt2=/mnt/test2
mkdir -p "$mnt2"

make "$DEV" && make "$DEV2"
check "it mounts" attach "$DEV" "$MNT"
check "it shows in /proc/mounts under its type" grep -q " $MNT $FSTYP " /proc/mounts
check "a second volume mounts beside it" attach "$DEV2" "$mnt2"
echo content >"$MNT/file"
refuse "a module in use is not removed" rmmod bentofs
check "the second one unmounts" umount "$mnt2"
check "the first goes on" grep -q content "$MNT/file"

exec 5<"$MNT/file"
refuse "unmounting what is busy is refused" umount "$MNT"
check "and nothing is lost" grep -q content "$MNT/file"
check "a lazy unmount is not" umount -l "$MNT"
check "an open file can be read after it" grep -q content /dev/fd/5
exec 5<&-

check "the device is free again, and mounts" attach "$DEV" "$MNT"
check "the content is there" grep -q content "$MNT/file"
if [ "$FSTYP" = bento ]; then
	# One device, two mounts: the kernel shares the one superblock, so both show the same; another type cannot have it.
	refuse "a formatter does not touch a mounted device" mkfs.bento -q -f "$DEV"
	refuse "no server takes a mounted device" bento mount "$DEV" "$mnt2"
	refuse "an unknown option is refused" attach "$DEV2" "$mnt2" nonsense
fi
check "remounting read-only" mount -o remount,ro "$MNT"
refuse "then nothing can be written" touch "$MNT/more"
check "and back" mount -o remount,rw "$MNT"
check "then it can" touch "$MNT/more"
check "all of it goes, lost+found too" find "$MNT" -mindepth 1 -delete
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$DEV"
check "it mounts again" attach "$DEV" "$MNT"
check "and lost+found can be made" mkdir "$MNT/lost+found"
check "it unmounts" umount "$MNT"
check "read-only from the start" attach "$DEV" "$MNT" ro
refuse "nothing can be written" touch "$MNT/third"
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$DEV"

# The inodes of 1,600 files lie in 100 blocks.
requests() { awk '{ print $1 }' "/sys/class/block/$(basename "$DEV")/stat"; }
attach "$DEV" "$MNT"
mkdir "$MNT/many"
for number in $(seq 1600); do : >"$MNT/many/$number"; done
umount "$MNT" && attach "$DEV" "$MNT"
before=$(requests)
ls -l "$MNT/many" | wc -l >/tmp/listed
after=$(requests)
check "all are listed" [ "$(cat /tmp/listed)" = 1601 ]
[ "$FSTYP" != bento ] || check "a cold listing reads neighbours together ($((after - before)) requests)" [ $((after - before)) -lt 60 ]
umount "$MNT"

dd if=/dev/zero of="$DEV2" bs=1M count=4 conv=fsync 2>/dev/null
refuse "an empty device is refused" attach "$DEV2" "$mnt2"
refuse "a device that is not there is refused" attach /dev/nothing "$mnt2"
finish
