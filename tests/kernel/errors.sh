# A disk that fails: what was written is told of once, a journal that cannot be written ends the changes, and reads go on.
. ./lib.sh
[ "$FSTYP" = bento ] || finish
sectors=$(blockdev --getsz "$DEV")
flaky=/dev/mapper/flaky

# The disk answers reads; writes succeed (`up`), fail everywhere (`down`), or fail everywhere but in the log (`data`).
table() { # STATE
	case "$1" in
	up) echo "0 $sectors linear $DEV 0" ;;
	down) echo "0 $sectors flakey $DEV 0 0 1 1 error_writes" ;;
	data)
		# The log begins behind the superblock, in blocks of 8 sectors.
		first=16 last=$((16 + log * 8))
		echo "0 $last linear $DEV 0"
		echo "$last $((sectors - last)) flakey $DEV $last 0 1 1 error_writes"
		;;
	esac
}
turn() { # STATE
	table "$1" | dmsetup reload flaky && dmsetup suspend --nolockfs --noflush flaky && dmsetup resume --noudevsync flaky
}
state() { cat "/sys/fs/bento/$(basename "$(readlink -f $flaky)")/state"; }
is() { [ "$(state)" = "$1" ] || { state; false; }; }
drop() { echo 3 >/proc/sys/vm/drop_caches; }

# Two open files of one file: what fsync answers to each, three times; the last after more was written.
cat >/tmp/fsync.pl <<'END'
use IO::Handle;
open(my $one, '+<', $ARGV[0]) or die; open(my $two, '<', $ARGV[0]) or die;
syswrite($one, "x" x 20000) == 20000 or die;
my @told = map { $_->sync ? "ok" : $!{EIO} ? "EIO" : "$!" } ($one, $one, $two, $two);
print "@told\n";
END

modprobe -a dm_mod dm_flakey 2>/dev/null
check "a disk that can fail" sh -c "echo '0 $sectors linear $DEV 0' | dmsetup create --noudevsync flaky"
dmsetup mknodes
make "$flaky"
log=$(bento info --json "$flaky" | tr ',{}' '\n' | sed -n 's/.*"log_blocks": *\([0-9]*\).*/\1/p')
check "it mounts" attach "$flaky" "$MNT"
echo kept >"$MNT/kept" && echo old >"$MNT/file" && sync -f "$MNT"

check "data fails, the log does not" turn data
told=$(perl /tmp/fsync.pl "$MNT/file")
check "fsync tells of it once for each open file: $told" [ "$told" = "EIO ok EIO ok" ]
check "the mount takes changes all the same" mkdir "$MNT/after-data"
check "and makes them durable" sync "$MNT/after-data"
check "the disk is well again" turn up
told=$(perl /tmp/fsync.pl "$MNT/file")
check "then fsync has nothing to tell: $told" [ "$told" = "ok ok ok ok" ]
check "the content is there" sh -c "[ \"\$(head -c 20000 $MNT/file | tr -d x | wc -c)\" = 0 ]"

check "every write fails" turn down
touch "$MNT/lost"
refuse "a sync fails" sync -f "$MNT"
check "the mount is shut down" is shut-down
refuse "changes are refused" touch "$MNT/more"
refuse "the next sync says so again" sync -f "$MNT"
drop
check "reads go on" grep -qx kept "$MNT/kept"
check "it unmounts" umount "$MNT"
check "the disk is well again after that" turn up
check "it mounts again" attach "$flaky" "$MNT"
check "what was synced is there" grep -qx kept "$MNT/kept"
check "and what the log had" test -d "$MNT/after-data"
check "it takes changes" touch "$MNT/more"

# Writes fail while many work: everybody gets an error, nobody hangs.
for writer in 1 2 3 4; do
	(
		number=0
		while echo $number >"$MNT/f$writer.$number" && sync "$MNT/f$writer.$number"; do number=$((number + 1)); done
	) 2>/dev/null &
done
sleep 1
check "every write fails under load" turn down
# All of them are told: this ends.
wait
check "it unmounts all the same" umount "$MNT"
check "the disk is well" turn up
check "it mounts after that" attach "$flaky" "$MNT"
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$flaky"
dmsetup remove --noudevsync flaky
finish
