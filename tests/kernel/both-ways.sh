# One volume, two hosts: what the kernel wrote our server reads, and the other way round, a dirty journal included.
. ./lib.sh
[ "$FSTYP" = bento ] || finish

populate() { # DIR SEED: one of everything
	(
		cd "$1" || exit 1
		mkdir "tree$2" && cd "tree$2" || exit 1
		for number in $(seq 200); do echo "$2 $number" >"small$number"; done
		head -c 3000001 /dev/urandom >large
		truncate -s 50M sparse && echo end | dd of=sparse bs=1 seek=40000000 conv=notrunc 2>/dev/null
		fallocate -l 1M allocated && fallocate -p -o 8192 -l 8192 large
		ln small1 hard && ln -s small2 soft && ln -s "$(printf 'long/%.0s' $(seq 300))" far
		mkfifo fifo && mknod device c 1 3 && mkdir -p a/b/c && echo deep >a/b/c/deep
		setfattr -n user.short -v value small3 && setfattr -n trusted.long -v "$(printf 'v%.0s' $(seq 1500))" small4
		chmod 4711 small5 && chown 1234:70000 small6 && touch -d '2001-02-03 04:05:06.789' small7
		mv small8 "$(printf 'n%.0s' $(seq 255))" && mv small9 small10 && rm small11
		truncate -s 100 small12 && echo more >>small13
	)
}

digest() { # DIR: everything that a user can see, access times left out
	(
		cd "$1" || exit 1
		find . -printf '%p %y %m %U %G %n %T@ %l ' \( -type f -printf '%s\n' -o -printf '\n' \) | sort
		find . -type f -print0 | sort -z | xargs -0 sha256sum
		find . -print0 | sort -z | xargs -0 getfattr -h -d -m - --absolute-names 2>/dev/null
		stat -c 'device %t %T' tree*/device
	)
}

serve() { bento mount "$DEV" "$MNT" -o allow_other,default_permissions,suid,dev; }

same() { # FILE FILE
	cmp "$1" "$2" || { diff "$1" "$2" | head -20; return 1; }
}

busy() { # works until the file system is gone
	mkdir -p "$MNT/busy$1"
	number=0
	while echo "$number" >"$MNT/busy$1/$((number % 40))" && mv "$MNT/busy$1/$((number % 40))" "$MNT/busy$1/m$((number % 9))"; do
		number=$((number + 1))
	done 2>/dev/null
}

check "the kernel makes a tree" fresh
populate "$MNT" 1
digest "$MNT" >/tmp/one
check "the kernel unmounts" umount "$MNT"
check "fsck finds nothing" verify "$DEV"

check "the server mounts it" serve
digest "$MNT" >/tmp/two
check "and shows the same" same /tmp/one /tmp/two
populate "$MNT" 2
rm -rf "$MNT/tree1/a"
digest "$MNT" >/tmp/one
check "the server unmounts" umount "$MNT"
check "fsck finds nothing after the server" verify "$DEV"

check "the kernel mounts it again" attach "$DEV" "$MNT"
digest "$MNT" >/tmp/two
check "and shows the same as the server" same /tmp/one /tmp/two

# The kernel dies at work: its log is all that the server has.
populate "$MNT" 3 && sync -f "$MNT"
digest "$MNT/tree3" >/tmp/one
for writer in 1 2 3; do busy $writer & done
sleep 1
check "the kernel's mount is cut off at work" fs-shutdown "$MNT" 2
wait
check "it unmounts" umount "$MNT"
check "the server recovers what the kernel left" serve
digest "$MNT/tree3" >/tmp/two
check "and has all that was synced" same /tmp/one /tmp/two
check "the server unmounts after recovery" umount "$MNT"
check "fsck finds nothing after that recovery" verify "$DEV"

# The server dies at work: its log is all that the kernel has.
check "the server mounts it once more" serve
populate "$MNT" 4 && sync -f "$MNT/tree4/small1" && sync "$MNT/tree4" "$MNT"
digest "$MNT/tree4" >/tmp/one
for writer in 4 5 6; do busy $writer & done
sleep 1
check "the server is killed at work" killall -9 bento
wait
umount -l "$MNT"
check "the kernel recovers what the server left" attach "$DEV" "$MNT"
digest "$MNT/tree4" >/tmp/two
check "and has all that was synced by the server" same /tmp/one /tmp/two
check "the kernel unmounts after recovery" umount "$MNT"
check "fsck finds nothing in the end" verify "$DEV"
finish
