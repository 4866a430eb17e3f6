# The data path: every way to change a file at once, a disk that fills up, a crash under writers.
. ./lib.sh
small=/tmp/data.img
truncate -s $((48 << 20)) $small
loop=$(losetup -f --show $small)

check "a new file system mounts" fresh
# User-mode Linux with several processors loses writes through mappings while somebody writes back, on ext4 too.
mappings=
case "$(uname -r)" in
*-bento-checked | *-bento-fast) [ "$(nproc)" = 1 ] || mappings=--unmapped ;;
esac
count fs-exercise "$MNT" --seeds "${SEEDS:-2}" --operations "${OPERATIONS:-700}" $mappings

# The size of what was appended and punched out again before it was written.
grow_and_punch() {
	head -c 10000 /dev/zero | tr '\0' a >"$MNT/punched" && sync "$MNT/punched" &&
		head -c 50000 /dev/zero | tr '\0' b >>"$MNT/punched" &&
		fallocate -p -o 8192 -l 200000 "$MNT/punched"
}
sized() { [ "$(stat -c %s "$MNT/punched")" = 60000 ] && [ "$(tr -d '\0' <"$MNT/punched" | wc -c)" = 8192 ]; }
check "a file grows, and what it grew by is punched out" grow_and_punch
check "it unmounts" umount "$MNT"
check "it mounts again" attach "$DEV" "$MNT"
check "the file is as long as it was" sized
check "again, and synced" grow_and_punch
check "which succeeds" sync "$MNT/punched"
check "a power cut" fs-shutdown "$MNT" 2
check "it unmounts" umount "$MNT"
check "it mounts again" attach "$DEV" "$MNT"
check "the file is as long as was synced" sized

# User-mode Linux itself walks a process's mappings without their lock when pages of several threads go, and complains of it.
case "$(uname -r)" in
*-bento-*) ;;
*) count fs-race "$MNT" "${RACE_SECONDS:-3}" ;;
esac

# More blocks that lie apart than placements may be open, all dirty at once.
cat >/tmp/scatter.pl <<'END'
use IO::Handle;
my ($how, $path, $count) = @ARGV;
open(my $file, $how eq "write" ? '+>' : '<', $path) or die "$path: $!";
for my $number (0 .. $count - 1) {
	my $right = pack("Q", $number + 1) x 512;
	sysseek($file, $number * 8192, 0) or die $!;
	if ($how eq "write") { syswrite($file, $right) == 4096 or die "$number: $!"; next; }
	sysread($file, my $found, 8192);
	die "block $number" if substr($found, 0, 4096) ne $right or substr($found, 4096) =~ /[^\0]/;
}
$file->sync or die "fsync: $!" if $how eq "write";
END
ratio=$(cat /proc/sys/vm/dirty_ratio) background=$(cat /proc/sys/vm/dirty_background_ratio)
echo 80 >/proc/sys/vm/dirty_ratio && echo 80 >/proc/sys/vm/dirty_background_ratio
check "many blocks that lie apart are written" perl /tmp/scatter.pl write "$MNT/scattered" "${SCATTERED:-20000}"
echo "$ratio" >/proc/sys/vm/dirty_ratio && echo "$background" >/proc/sys/vm/dirty_background_ratio
echo 3 >/proc/sys/vm/drop_caches
check "and read back" perl /tmp/scatter.pl read "$MNT/scattered" "${SCATTERED:-20000}"
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$DEV"

check "a small one is made" make "$loop"
check "it mounts" attach "$loop" "$MNT"
count fs-fill "$MNT"
check "it unmounts" umount "$MNT"
check "fsck finds nothing on it" verify "$loop"

for seed in $(seq "${CRASHES:-3}"); do
	# What lies on the disk already must never show.
	tr '\0' S </dev/zero | dd of="$loop" bs=1M iflag=fullblock 2>/dev/null
	rm -rf /tmp/record
	make "$loop"
	check "crash $seed: it mounts" attach "$loop" "$MNT"
	check "crash $seed: writers run into it" fs-crash write "$MNT" /tmp/record "$seed"
	check "crash $seed: it unmounts" umount "$MNT"
	check "crash $seed: it mounts again" attach "$loop" "$MNT"
	count fs-crash check "$MNT" /tmp/record
	check "crash $seed: it unmounts again" umount "$MNT"
	check "crash $seed: fsck finds nothing" verify "$loop"
done
losetup -d "$loop"
rm -rf $small /tmp/record
finish
