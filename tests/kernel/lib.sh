# What the scripts of this directory share. A script sources it, makes its checks, and ends with `finish`.
#
# $FSTYP is the file system under test: bento, or ext4 to try a script itself. $DEV and $DEV2 are disks of its
# own, $MNT is where it is mounted. Everything is unmounted, and the modules are loaded, when a script begins.

passed=0
failed=0

# check SENTENCE COMMAND...: one test. The command runs in a subshell: what it sets is gone.
check() {
	sentence=$1
	echo "$sentence" >/tmp/at
	shift
	if output=$("$@" 2>&1); then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED $sentence: $output"
	fi
}

# refuse SENTENCE COMMAND...: one test, passed if the command fails.
refuse() {
	sentence=$1
	echo "$sentence" >/tmp/at
	shift
	if output=$("$@" 2>&1); then
		failed=$((failed + 1))
		echo "FAILED $sentence: it succeeded: $output"
	else
		passed=$((passed + 1))
	fi
}

# count PROGRAM...: adds up what a program counts itself, and shows its failures.
count() {
	report=$("$@" 2>&1)
	line=$(echo "$report" | grep -E '^[0-9]+ passed, [0-9]+ failed$' | tail -1)
	if [ -z "$line" ]; then
		failed=$((failed + 1))
		echo "FAILED $1 ended without counting:"
		echo "$report" | tail -20
		return
	fi
	set -- $line
	passed=$((passed + $1))
	failed=$((failed + $3))
	echo "$report" | grep -v "^$line\$" | grep FAILED
}

finish() {
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
	exit
}

# make DEVICE [OPTIONS...]: a fresh file system.
make() {
	device=$1
	shift
	case "$FSTYP" in
	bento) mkfs.bento -q -f "$@" "$device" ;;
	*) mke2fs -q -F -t "$FSTYP" "$@" "$device" ;;
	esac
}

# attach DEVICE DIRECTORY [OPTIONS]: mounts.
attach() {
	mkdir -p "$2" && mount -t "$FSTYP" ${3:+-o "$3"} "$1" "$2"
}

# verify DEVICE: finds nothing wrong, changes nothing.
verify() {
	case "$FSTYP" in
	bento) fsck.bento -n -f "$1" ;;
	*) e2fsck -n -f "$1" ;;
	esac
}

# fresh: a new file system, mounted on $MNT.
fresh() {
	make "$DEV" "$@" && attach "$DEV" "$MNT"
}
