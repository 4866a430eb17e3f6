# The file-system suite that our FUSE mount passes, and what is left after it.
. ./lib.sh
check "a new file system mounts" fresh
count fs-suite "$MNT"
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$DEV"
check "it mounts again" attach "$DEV" "$MNT"
count fs-suite "$MNT" --only a_new_file,a_store_survives,a_rename_keeps
check "it unmounts again" umount "$MNT"
check "fsck finds nothing again" verify "$DEV"
finish
