# A lease (fcntl(2)): who holds one is told before the file is opened in a way that it excludes.
. ./lib.sh

# Takes a lease of a kind (0 read, 1 write), sees another opener turned away, gives it up, and sees it let in.
lease() {
	perl -e '
		use Fcntl; use Errno;
		use constant { SETLEASE => 1024, GETLEASE => 1025, NONE => 2 };
		my ($kind, $path) = @ARGV;
		$SIG{IO} = "IGNORE";
		my $other = O_NONBLOCK | ($kind ? O_RDONLY : O_WRONLY);
		sysopen(my $held, $path, $kind ? O_WRONLY : O_RDONLY) or die "open: $!";
		fcntl($held, SETLEASE, $kind + 0) or die "lease: $!";
		fcntl($held, GETLEASE, 0) == $kind or die "another lease than was asked for";
		sysopen(my $early, $path, $other) and die "opened in spite of the lease";
		$!{EAGAIN} or die "refused for another reason: $!";
		fcntl($held, SETLEASE, NONE) or die "giving it up: $!";
		sysopen(my $late, $path, $other) or die "not opened afterwards: $!";
	' "$@"
}

check "it mounts" fresh
echo text >"$MNT/file"
check "a read lease keeps a writer out" lease 0 "$MNT/file"
check "a write lease keeps a reader out" lease 1 "$MNT/file"
check "it unmounts" umount "$MNT"
finish
