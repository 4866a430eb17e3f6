# A disk that fails: what was written is told of once, a journal that cannot be written ends the changes, and reads go on.
. ./lib.sh
[ "$FSTYP" = bento ] || finish
sectors=$(blockdev --getsz "$DEV")
flaky=/dev/mapper/flaky

# The disk answers reads, and its writes succeed (`up`) or fail (`down`); or it fails where the file's data lies (`data`). Flushes
# go to `flakey`, which lets them fail too, but not to `error`.
table() { # STATE
	case "$1" in
	up) echo "0 $sectors linear $DEV 0" ;;
	down) echo "0 $sectors flakey $DEV 0 0 1 1 error_writes" ;;
	data)
		echo "0 $first linear $DEV 0"
		echo "$first 40 error"
		echo "$((first + 40)) $((sectors - first - 40)) linear $DEV $((first + 40))"
		;;
	esac
}
turn() { # STATE
	table "$1" | dmsetup reload flaky && dmsetup suspend --nolockfs --noflush flaky && dmsetup resume --noudevsync flaky
}
state() { cat "/sys/fs/bento/dm-$(dmsetup info -c --noheadings -o minor flaky)/state"; }
is() { [ "$(state)" = "$1" ] || { state; false; }; }
drop() { echo 3 >/proc/sys/vm/drop_caches; }

# Two open files of one file: what fsync answers to each, three times; the last after more was written.
cat >/tmp/fsync.pl <<'END'
use IO::Handle;
open(my $one, '+<', $ARGV[0]) or die; open(my $two, '<', $ARGV[0]) or die;
syswrite($one, "x" x 20480) == 20480 or die;
my @told = map { $_->sync ? "ok" : $!{EIO} ? "EIO" : "$!" } ($one, $one, $two, $two);
print "@told\n";
END

modprobe -a dm_mod dm_flakey 2>/dev/null
check "a disk that can fail" sh -c "echo '0 $sectors linear $DEV 0' | dmsetup create --noudevsync flaky"
dmsetup mknodes
make "$flaky"
check "it mounts" attach "$flaky" "$MNT"
echo kept >"$MNT/kept"
perl -e 'print "mark" x 5120' >"$MNT/file"
sync -f "$MNT"
# Five blocks, one behind the other: overwritten in place.
first=$(($(grep -zabo -m1 markmarkmark "$DEV" | tr -d '\0' | cut -d: -f1 | head -1) / 4096 * 8))
check "the file's data is found on the disk" test "$first" -gt 0

check "data fails, the journal does not" turn data
told=$(perl /tmp/fsync.pl "$MNT/file")
check "fsync tells of it once for each open file: $told" [ "$told" = "EIO ok EIO ok" ]
check "the mount takes changes all the same" mkdir "$MNT/after-data"
check "and makes them durable" sync "$MNT/after-data"
check "the disk is well again" turn up
told=$(perl /tmp/fsync.pl "$MNT/file")
check "then fsync has nothing to tell: $told" [ "$told" = "ok ok ok ok" ]
check "the content is there" sh -c "[ \"\$(head -c 20480 $MNT/file | tr -d x | wc -c)\" = 0 ]"

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
