# A disk that is full: whoever wrote with success reads it back, and all of the space comes back.
. ./lib.sh
size=$((64 << 20))
small=/tmp/small.img
truncate -s $size $small
loop=$(losetup -f --show $small)

# Fills with files of a size until one fails; then each that was synced must read back. One process for all: thousands of files.
cat >/tmp/fill.pl <<'END'
use IO::Handle;
my ($how, $dir, $size, $most) = @ARGV;
sub content { my $number = shift; return substr(pack("Q", $number * 2654435761 + 1) x (1 + $size / 8), 0, $size); }
for my $number (0 .. $most - 1) {
	my $path = "$dir/f$number";
	if ($how eq "read") {
		open(my $file, '<', $path) or die "$path: $!";
		local $/;
		die "$path" if <$file> ne content($number);
		next;
	}
	my $kept = open(my $file, '>', $path);
	if ($kept) {
		my $written = syswrite($file, content($number));
		$kept = defined $written && $written == $size && $file->sync && close($file);
	}
	if (!$kept) { unlink $path; print $number; exit($number ? 0 : 1); }
}
exit($how eq "read" ? 0 : 1);
END
free() { stat -f -c %f "$MNT"; }

make "$loop"
check "it mounts" attach "$loop" "$MNT"
before=$(free)
for size in 4096 100000 3000000; do
	files=$(perl /tmp/fill.pl write "$MNT" $size 100000)
	check "files of $size bytes fill it: $files" [ "${files:-0}" -gt 0 ]
	echo 3 >/proc/sys/vm/drop_caches
	check "what was written is there" perl /tmp/fill.pl read "$MNT" $size "${files:-0}"
	refuse "a large write says so" dd if=/dev/zero of="$MNT/large" bs=1M count=100 conv=fsync
	rm -f "$MNT/large"
	check "unlink always works" sh -c "find $MNT -name 'f*' -delete"
	sync -f "$MNT"
	after=$(free)
	check "the space is back: $before blocks before, $after after" [ "$after" -ge $((before - before / 50)) ]
done
check "writers side by side at the end of space" sh -c "
	for writer in 1 2 3 4; do
		(while dd if=/dev/zero of=$MNT/w\$writer bs=64k count=4 oflag=append conv=notrunc,fsync 2>/dev/null; do :; done) &
	done
	wait
	rm -f $MNT/w*"
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$loop"
losetup -d "$loop"
rm -f $small
finish
