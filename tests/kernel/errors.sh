# A disk that fails: lost data is told of once to each open file, a journal that cannot be written ends the changes, what
# cannot be read is an error of who reads it, and recovery is clean after all of them.
. ./lib.sh
[ "$FSTYP" = bento ] || finish
# There is no udev that dmsetup could wait for.
export DM_DISABLE_UDEV=1
sectors=$((64 << 11))
flaky=/dev/mapper/flaky
truncate -s $((sectors * 512)) /tmp/flaky.img
disk=$(losetup -f --show /tmp/flaky.img)

# The disk is in order (`up`), every write and every flush fails (`down`), or a place can neither be read nor written, but
# flushes succeed (`at SECTOR COUNT`; without a count, all from there on).
table() {
	case "$1" in
	up) echo "0 $sectors linear $disk 0" ;;
	down) echo "0 $sectors flakey $disk 0 0 1 1 error_writes" ;;
	at)
		end=$(($2 + ${3:-$((sectors - $2))}))
		echo "0 $2 linear $disk 0"
		echo "$2 $((end - $2)) error"
		[ $end = $sectors ] || echo "$end $((sectors - end)) linear $disk $end"
		;;
	esac
}
turn() {
	table "$@" | dmsetup reload flaky && dmsetup suspend --nolockfs --noflush flaky && dmsetup resume --noudevsync flaky
}
state() { cat "/sys/fs/bento/dm-$(dmsetup info -c --noheadings -o minor flaky)/state"; }
is() { [ "$(state)" = "$1" ] || { state; false; }; }
drop() { echo 3 >/proc/sys/vm/drop_caches; }
# Where a text lies on the disk the last time, as the sector of its block: the log, which comes first, may hold it too.
sector_of() { echo $(($(grep -abo "$1" /tmp/flaky.img | tail -1 | cut -d: -f1) / 4096 * 8)); }

# Writes five blocks through one of two open files.
cat >/tmp/fsync.pl <<'END'
use IO::Handle;
open(my $one, '+<', $ARGV[0]) or die; open(my $two, '<', $ARGV[0]) or die;
syswrite($one, "x" x 20480) == 20480 or die;
my @told = map { $_->sync ? "ok" : $!{EIO} ? "EIO" : "$!" } ($one, $one, $two, $two);
print "@told\n";
END
# What two fsyncs of each answer.
told() { # FILE ANSWERS
	answers=$(perl /tmp/fsync.pl "$1")
	[ "$answers" = "$2" ] || { echo "$answers"; false; }
}
free() { stat -f -c %f "$MNT"; }

check "a disk that can fail" sh -c "echo '0 $sectors linear $disk 0' | dmsetup create --noudevsync flaky"
dmsetup mknodes
# One group: where a directory goes must not depend on which groups can still be read.
make "$flaky" -g 16384
check "it mounts" attach "$flaky" "$MNT"
echo kept >"$MNT/kept"
perl -e 'print "mark" x 5120' >"$MNT/file"
mkdir "$MNT/dir" && touch "$MNT/dir/a-name-that-nobody-else-has"
sync -f "$MNT"
file=$(($(sector_of markmarkmark) - 32))
check "the file's data is found on the disk" test "$file" -gt 0

check "a place of the disk fails" turn at "$file" 40
check "fsync tells of lost data once for each open file" told "$MNT/file" "EIO ok EIO ok"
check "the mount takes changes all the same" mkdir "$MNT/after-data"
check "and makes them durable" sync "$MNT/after-data"
drop
refuse "what cannot be read is an error" cat "$MNT/file"
check "and none of the mount's" is read-write
check "other files are read" grep -qx kept "$MNT/kept"
check "the disk is well again" turn up
check "then fsync has nothing to tell" told "$MNT/file" "ok ok ok ok"
check "the content is there" sh -c "[ \"\$(tr -d x <$MNT/file | wc -c)\" = 0 ]"

: >"$MNT/new" && sync -f "$MNT"
before=$(free)
check "new blocks cannot be written" turn at "$file"
check "fsync tells of that too" told "$MNT/new" "EIO ok EIO ok"
check "their space is back" [ "$(free)" = "$before" ]
for number in 1 2 3; do echo lost >"$MNT/lost$number"; done
refuse "syncfs tells of it" sync -f "$MNT"
check "the mount takes changes after that" mkdir "$MNT/after-new"
check "the disk is well after that" turn up
check "what is written again is kept" told "$MNT/new" "ok ok ok ok"

check "it unmounts" umount "$MNT"
check "fsck finds nothing after lost data" verify "$flaky"
check "it mounts again" attach "$flaky" "$MNT"
check "what was written again is there" sh -c "[ \"\$(tr -d x <$MNT/new | wc -c)\" = 0 ] && [ -s $MNT/new ]"
drop
check "a block of a directory cannot be read" turn at "$(sector_of a-name-that-nobody-else-has)" 8
refuse "which is an error of who looks into it" ls "$MNT/dir"
refuse "and of who looks for a name" stat "$MNT/dir/another"
check "other directories are read" ls "$MNT"
check "and changed" touch "$MNT/kept"
check "the mount goes on" is read-write
check "the directory is well again" turn up
check "and shows its names" stat "$MNT/dir/a-name-that-nobody-else-has"

check "every write fails" turn down
touch "$MNT/gone"
refuse "a sync fails" sync -f "$MNT"
check "the mount is shut down" is shut-down
refuse "changes are refused" touch "$MNT/more"
refuse "the next sync says so again" sync -f "$MNT"
drop
check "reads go on" grep -qx kept "$MNT/kept"
check "it unmounts" umount "$MNT"
check "the disk is in order" turn up
check "it mounts after a failed journal" attach "$flaky" "$MNT"
check "what was synced is there" grep -qx kept "$MNT/kept"
check "and what the log had" test -d "$MNT/after-new"
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
check "the disk is in order again" turn up
check "it mounts after that" attach "$flaky" "$MNT"
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$flaky"
dmsetup remove --noudevsync flaky
losetup -d "$disk"
rm /tmp/flaky.img
finish
