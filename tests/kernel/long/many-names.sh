# A hundred thousand names in one directory.
. ./lib.sh
names=${NAMES:-100000}
check "it mounts" fresh -N $((names + 1000))
mkdir "$MNT/many"
cd "$MNT/many" || finish
start=$SECONDS
check "making $names names" sh -c "seq -f 'name%06.0f' $names | xargs touch"
echo "note: making $names names took $((SECONDS - start)) s"
check "each is listed once" [ "$(ls -f | grep -c '^name')" = "$names" ]
check "no name comes twice" [ "$(ls -f | sort | uniq -d | wc -l)" = 0 ]
check "each is found" sh -c "seq -f 'name%06.0f' 1 997 $names | xargs stat -c %n >/dev/null"
cd /
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$DEV"
check "it mounts again" attach "$DEV" "$MNT"
start=$SECONDS
check "a cold listing has all of them" [ "$(ls -f "$MNT/many" | grep -c '^name')" = "$names" ]
check "removing all of them" rm -rf "$MNT/many"
echo "note: listing cold and removing took $((SECONDS - start)) s"
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$DEV"
finish
