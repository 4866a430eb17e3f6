# The life of a mount: its options, turning to reading and back, freezing under load, a device mounted twice, an unmount that has
# to wait for its turn.
. ./lib.sh
mnt2=/mnt/test2
mkdir -p "$mnt2"
truncate -s $((48 << 20)) /tmp/life.img
DEV=$(losetup -f --show /tmp/life.img)

# told SENTENCE PATTERN COMMAND...: one test, passed if the command fails and the pattern is in what it or the kernel says.
told() {
	sentence=$1 pattern=$2
	shift 2
	dmesg -C
	refuse "$sentence is refused" "$@"
	{ "$@"; dmesg; } >/tmp/told 2>&1
	check "$sentence: and why is told" grep -q "$pattern" /tmp/told
}
shows() { grep " $MNT $FSTYP " /proc/mounts | grep -q "$1" || { grep " $MNT " /proc/mounts; false; }; }
hides() { ! grep " $MNT $FSTYP " /proc/mounts | grep "$1"; }
again() { mount -o "remount,$1" "$MNT"; }
sum() { blockdev --flushbufs "$DEV" && sha256sum <"$DEV"; }
# Names that come and go until somebody puts up a sign, or it fails.
work() {
	number=0
	mkdir -p "$MNT/work$1" && cd "$MNT/work$1" || return
	while [ ! -e /tmp/enough ] && echo "$number" >a && mv a "b$((number % 30))"; do number=$((number + 1)); done 2>/dev/null
}
start_work() { rm -f /tmp/enough && for worker in 1 2 3; do work $worker & done; }
marks() { cat "$MNT"/work*/b* | md5sum; }
changes() {
	seen=$(marks)
	for try in $(seq 100); do
		sleep 0.1
		[ "$(marks)" = "$seen" ] || return 0
	done
	return 1
}
end_work() { : >/tmp/enough && wait; }

make "$DEV"
if [ "$FSTYP" = bento ]; then
	modprobe bento_prov
	check "without options it mounts" attach "$DEV" "$MNT"
	check "damage makes it read-only, as is shown" shows errors=remount-ro
	check "what is as usual is not shown" hides 'commit=\|prov'
	check "the time between commits is changed under it" again commit=30
	check "and shown" shows commit=30
	check "what is not named stays" sh -c "mount -o remount,errors=continue $MNT && grep ' $MNT ' /proc/mounts | grep -q 'errors=continue,commit=30'"
	told "a commit every 0 s, under it," "commit=0: seconds from 1 to 300" again commit=0
	check "and changes nothing" shows commit=30
	told "provenance, under it," "bento upgrade --to bento-prov" again prov
	check "it unmounts" umount "$MNT"
	for option in errors=continue errors=remount-ro errors=shutdown commit=1 commit=300 prov errors=shutdown,commit=7,prov; do
		check "$option: it mounts" attach "$DEV" "$MNT" "$option"
		check "$option: it is shown" shows "$(echo "$option" | sed 's/,/.*/g')"
		check "$option: it takes changes" mkdir "$MNT/$option"
		check "$option: it can be remounted as it is shown" again "$(grep " $MNT " /proc/mounts | cut -d' ' -f4)"
		check "$option: it unmounts" umount "$MNT"
	done
	check "nodiscard: it mounts" attach "$DEV" "$MNT" nodiscard
	check "it unmounts" umount "$MNT"
	told "commit=0" "commit=0: seconds from 1 to 300" attach "$DEV" "$MNT" commit=0
	told "commit=301" "commit=301: seconds from 1 to 300" attach "$DEV" "$MNT" commit=301
	told "a commit that is no number" "commit" attach "$DEV" "$MNT" commit=soon
	told "another word for errors" "errors" attach "$DEV" "$MNT" errors=panic
	told "discard" "discard is not supported" attach "$DEV" "$MNT" discard
	told "an option that nobody knows" "nonsense" attach "$DEV" "$MNT" nonsense
	told "a value for what takes none" "prov" attach "$DEV" "$MNT" prov=1
	dd if=/dev/zero of="$DEV2" bs=1M count=4 conv=fsync 2>/dev/null
	told "what is no volume" "magic is not Bento's" attach "$DEV2" "$mnt2"
fi

check "it mounts" attach "$DEV" "$MNT"
check "it mounts a second time" attach "$DEV" "$mnt2"
echo one >"$MNT/shared"
check "both show the same" grep -qx one "$mnt2/shared"
refuse "a third time read-only is refused" mount -t "$FSTYP" -o ro "$DEV" /mnt
check "one unmounts" umount "$MNT"
check "the other goes on" sh -c "echo two >$mnt2/shared && sync -f $mnt2"
check "it unmounts" umount "$mnt2"

check "it mounts again" attach "$DEV" "$MNT"
exec 5>>"$MNT/shared"
refuse "turning to reading is refused while a file is open for writing" again ro
check "and nothing is lost" sh -c "echo three >$MNT/more && grep -qx three $MNT/more"
exec 5>&-
check "then it is not" again ro
check "everything is on the disk then" verify "$DEV"
before=$(sum)
refuse "nothing can be written" touch "$MNT/third"
find "$MNT" -type f -exec cat {} + >/dev/null
check "nor is it" [ "$(sum)" = "$before" ]
check "the content is there" grep -qx three "$MNT/more"
check "turning to writing" again rw
for round in 1 2 3; do
	start_work
	sleep 0.3
	# Refused as long as somebody has a file open at that moment.
	tries=0
	until again ro 2>/dev/null || [ $tries = 1000 ]; do tries=$((tries + 1)); done
	end_work
	check "turn $round: to reading, under load" [ $tries -lt 1000 ]
	check "turn $round: the volume is in order then" verify "$DEV"
	check "turn $round: and back" again rw
done
check "it takes changes" touch "$MNT/third"

for round in 1 2; do
	start_work
	sleep 0.3
	check "freeze $round: under load" fsfreeze -f "$MNT"
	check "freeze $round: the volume is in order" verify "$DEV"
	before=$(sum)
	sleep 1
	check "freeze $round: nothing is written" [ "$(sum)" = "$before" ]
	check "freeze $round: reads go on" grep -qx three "$MNT/more"
	check "freeze $round: memory is given back" sh -c 'echo 3 >/proc/sys/vm/drop_caches'
	[ "$FSTYP" != bento ] || refuse "freeze $round: no upgrade meanwhile" bento upgrade "$MNT"
	check "freeze $round: it ends" fsfreeze -u "$MNT"
	check "freeze $round: work goes on" changes
	end_work
done

for round in 1 2; do
	start_work
	sleep 0.2
	refused=0
	for try in $(seq 50); do umount "$MNT" 2>/dev/null || refused=$((refused + 1)); done
	check "round $round: an unmount under load is refused" [ $refused = 50 ]
	end_work
	check "round $round: then it is not" umount "$MNT"
	check "round $round: fsck finds nothing" verify "$DEV"
	check "round $round: it mounts" attach "$DEV" "$MNT"
done
check "it unmounts" umount "$MNT"

check "a device that cannot be written" blockdev --setro "$DEV"
before=$(sum)
check "is mounted for reading" attach "$DEV" "$MNT" ro
check "shows what is there" grep -qx three "$MNT/more"
refuse "does not turn to writing" again rw
check "goes on" grep -qx three "$MNT/more"
check "unmounts" umount "$MNT"
check "and is as it was" [ "$(sum)" = "$before" ]
check "it can be written again" blockdev --setrw "$DEV"
check "fsck finds nothing" verify "$DEV"
losetup -d "$DEV"
rm /tmp/life.img
finish
