# Replacing the code under a mount: what is refused, and that a refusal changes nothing.
. ./lib.sh
[ "$FSTYP" = bento ] || finish
mnt2=/mnt/test2
mkdir -p "$mnt2"
name=${DEV##*/}

seed() { echo "$1" >/sys/module/bento_fs_faulty/parameters/fault; }
to() { bento upgrade --to "$1" "$2"; }
serves() { grep -q "^$1 " "/sys/fs/bento/$name/version" || { cat "/sys/fs/bento/$name/version"; false; }; }
told() { cat "/sys/fs/bento/$name/$1"; }

make "$DEV" && make "$DEV2"
check "a second version loads" modprobe bento_fs_faulty
check "it mounts" attach "$DEV" "$MNT"
check "the plain version serves at first" serves bento-fs
check "both are listed" sh -c 'grep -q "^bento-fs " /sys/fs/bento/versions && grep -q "^bento-fs-faulty " /sys/fs/bento/versions'
refuse "a module that serves a mount stays" rmmod bento_fs
exec 5>"$MNT/open"
echo before >&5
check "without a name the other version takes over" bento upgrade "$MNT"
check "it serves" serves bento-fs-faulty
echo after >&5
exec 5>&-
check "a file that was open is whole" sh -c "[ \"\$(cat $MNT/open)\" = 'before
after' ]"
check "the old module can be removed at once" rmmod bento_fs
refuse "a version that does not exist is refused" to bento-nothing "$MNT"
check "and the one that served serves on" touch "$MNT/served"
check "the module loads again" modprobe bento_fs
check "its version takes over" to bento-fs "$MNT"
check "the report can be read by programs" sh -c "bento upgrade --to bento-fs-faulty --json $MNT | grep -q '\"pause_ns\":[0-9]'"
check "a version takes over from itself" to bento-fs-faulty "$MNT"
to bento-fs "$MNT" >/dev/null

before=$(told gate/upgrades)
for refusal in refuse import; do
	seed "$refusal"
	refuse "$refusal: the new side refuses" to bento-fs-faulty "$MNT"
	check "$refusal: the old side serves on" serves bento-fs
	check "$refusal: files can be made" touch "$MNT/$refusal"
done
check "refused upgrades are not counted" [ "$(told gate/upgrades)" = "$before" ]
to bento-fs-faulty "$MNT" >/dev/null
seed export
refuse "the old side panics when it is to hand over" to bento-fs "$MNT"
check "and serves on" sh -c "touch $MNT/export && grep -q '^bento-fs-faulty ' /sys/fs/bento/$name/version"
check "and can be replaced" to bento-fs "$MNT"

fsfreeze -f "$MNT"
refuse "a frozen mount is not upgraded" to bento-fs-faulty "$MNT"
fsfreeze -u "$MNT"
check "a thawed one is" to bento-fs-faulty "$MNT"
refuse "what is no mount of ours is refused" to bento-fs /proc
refuse "nobody but root may" setpriv --reuid 1000 --clear-groups bento upgrade "$MNT"

check "a second volume mounts beside it" attach "$DEV2" "$mnt2" ro
check "a read-only mount is upgraded too" to bento-fs-faulty "$mnt2"
check "and back" to bento-fs "$mnt2"
check "the first one has its own version" serves bento-fs-faulty
check "it unmounts" umount "$MNT"
check "the second unmounts" umount "$mnt2"
check "the module can go" rmmod bento_fs_faulty
check "nothing is left of a mount" sh -c "[ ! -e /sys/fs/bento/$name ]"
check "the volume is in order" verify "$DEV"
finish
