# What chattr(1) sets: it holds, it is told, and it is there after a remount.
. ./lib.sh

has() { lsattr -d "$2" | cut -d' ' -f1 | grep -q "$1"; }

check "it mounts" fresh
cd "$MNT" || finish
for name in fixed grows plain; do echo old >$name; done
mkdir dir
check "a file is made immutable" chattr +i fixed
refuse "it cannot be written to" sh -c 'echo new >fixed'
refuse "or appended to" sh -c 'echo new >>fixed'
refuse "or removed" rm -f fixed
refuse "or renamed" mv fixed other
refuse "or linked to" ln fixed other
refuse "or given another mode" chmod 600 fixed
check "a file is made to grow only" chattr +a grows
refuse "it cannot be overwritten" sh -c 'echo new >grows'
refuse "or cut" truncate -s 0 grows
check "but appended to" sh -c 'echo new >>grows'
check "a file is left out of dumps, and its reads leave no time" chattr +dA plain
check "a directory's changes are made durable at once" chattr +D dir
[ "$FSTYP" != bento ] || refuse "a flag that there is not is refused" chattr +c plain
cd /
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$DEV"
check "it mounts again" attach "$DEV" "$MNT"
check "immutable is still set" has i "$MNT/fixed"
refuse "and holds: it cannot be removed" rm -f "$MNT/fixed"
check "so is growing only" has a "$MNT/grows"
check "and what was appended is there" [ "$(cat "$MNT/grows")" = "old
new" ]
check "so are the others" has 'd.*A\|A.*d' "$MNT/plain"
check "and the directory's" has D "$MNT/dir"
check "they are taken away" chattr -R -i -a -d -A -D "$MNT/fixed" "$MNT/grows" "$MNT/plain" "$MNT/dir"
check "and then the files go" rm -r "$MNT/fixed" "$MNT/grows" "$MNT/plain" "$MNT/dir"
check "it unmounts" umount "$MNT"
finish
