# Provenance in the kernel: who did what, told on the mount and by the device, through upgrades and a crash.
. ./lib.sh
[ "$FSTYP" = bento ] || finish

# says TEXT COMMAND...: the command succeeds and says so.
says() {
	text=$1
	shift
	said=$("$@") && echo "$said" | grep -q -e "$text" && return
	echo "no '$text' in: $said"
	return 1
}

# silent TEXT COMMAND...: the command succeeds and does not say so.
silent() {
	text=$1
	shift
	said=$("$@") && ! echo "$said" | grep -q -e "$text" && return
	echo "'$text' is in: $said"
	return 1
}

# told FIELD WHAT PATH: what the program's output of the newest record of this kind says in a field.
told() {
	bento prov log --json "$3" | awk -v field="\"$1\":" -v what="\"what\": \"$2\"" '
		/"number":/ { mine = 0 }
		index($0, what) { mine = 1 }
		mine && $1 == field { sub(/^[^:]*: /, ""); gsub(/[",]/, ""); last = $0 }
		END { print last }'
}

writes() { bento prov log "$1" | grep -c ' write '; }
gaps() { bento prov log "$MNT" | grep -c -e '--- until'; }
mapped_write() { fio --name=mapped --filename="$1" --ioengine=mmap --rw=write --bs=4k --size=4k --fallocate=none; }

make "$DEV"
check "a mount that records from its start" attach "$DEV" "$MNT" prov
check "it shows" grep -q " $MNT bento .*,prov" /proc/mounts
mkdir "$MNT/desk" && chmod 777 "$MNT/desk"

# One of each, by a process that is known.
sh -c 'echo $$ >/tmp/pid; cut -d" " -f22 /proc/$$/stat >/tmp/start; : >"$1"' sh "$MNT/desk/made"
check "a create names the process" [ "$(told pid create "$MNT/desk/made")" = "$(cat /tmp/pid)" ]
check "when it started" [ "$(told start create "$MNT/desk/made")" = "$(cat /tmp/start)" ]
check "what it is called" [ "$(told command create "$MNT/desk/made")" = sh ]
check "in which life of the machine" [ "$(told boot create "$MNT/desk/made")" = "$(cat /proc/sys/kernel/random/boot_id)" ]
check "another user makes one" setpriv --reuid 1000 --clear-groups touch "$MNT/desk/theirs"
check "and is named" [ "$(told uid create "$MNT/desk/theirs")" = 1000 ]

touch "$MNT/desk/new"
sh -c 'exec 3>>"$1"; echo 1 >&3; echo 2 >&3' sh "$MNT/desk/new"
ln "$MNT/desk/new" "$MNT/second"
mv "$MNT/desk/new" "$MNT/result"
truncate -s 3 "$MNT/result"
touch "$MNT/other"
rm "$MNT/other"
check "the maker is known" says 'create .*/desk/new .*by touch\[' bento prov why "$MNT/result"
check "so is who moved it, and from where" says 'rename .*/desk/new -> /result .*by mv\[' bento prov why "$MNT/result"
check "who gave it a second name" says 'link .*/second .*by ln\[' bento prov log "$MNT/result"
check "who cut it" says 'truncate .* to 3 bytes .*by truncate\[' bento prov log "$MNT/result"
check "who wrote" says 'write .*by sh\[' bento prov why "$MNT/result"
check "once for an open file" [ "$(writes "$MNT/result")" = 1 ]
check "what is gone is told of" says 'unlink .*by rm\[' bento prov log "$MNT/other"
head -c 4096 /dev/zero >"$MNT/mapped"
check "a file is written through a mapping" mapped_write "$MNT/mapped"
check "who stored there is known" says 'write .*by fio\[' bento prov log "$MNT/mapped"
dd if=/dev/zero of="$MNT/direct" bs=4096 count=4 oflag=direct 2>/dev/null
check "so is who wrote past the page cache" [ "$(told command write "$MNT/direct")" = dd ]
check "reading is no writing" sh -c "cat $MNT/result >/dev/null && exec 3<>$MNT/result"
check "nor is opening to write" [ "$(writes "$MNT/result")" = 1 ]
bento prov log "$MNT" >/tmp/live
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$DEV"
bento prov log "$DEV" >/tmp/image
check "the device tells the same" cmp /tmp/live /tmp/image
check "and why" says '/desk/new -> /result .*by mv\[' bento prov why "$DEV" /result
check "to programs too" says '"command": "mv"' bento prov why --json "$DEV" /result

check "a mount that does not record" attach "$DEV" "$MNT"
refuse "a remount does not turn it on" mount -o remount,prov "$MNT"
touch "$MNT/unseen"
before=$(writes "$MNT/result")
check "it is turned on under the mount" says bento-prov bento upgrade --to bento-prov "$MNT"
exec 5>>"$MNT/result"
echo 3 >&5
touch "$MNT/seen"
check "and off" says bento-fs bento upgrade --to bento-fs "$MNT"
echo 4 >&5
touch "$MNT/unseen too"
check "records can be asked for then" says ' /seen .*by touch\[' bento prov log "$MNT"
check "and on" bento upgrade --to bento-prov "$MNT"
echo 5 >&5
echo 6 >&5
exec 5>&-
check "an open file is told of to each version that records" [ $(($(writes "$MNT/result") - before)) = 2 ]
check "what nobody recorded is no record" silent unseen bento prov log "$MNT"
known=$(gaps)
check "but a gap" [ "$known" = 3 ]
check "another takeover that records leaves none" bento upgrade --to bento-prov "$MNT"
touch "$MNT/kept"
check "not one more" [ "$(gaps)" = "$known" ]

sync "$MNT/kept"
touch "$MNT/perhaps"
check "the file system is shut down" fs-shutdown "$MNT" 2
check "it unmounts" umount "$MNT"
check "a crash keeps what was synced, with its record" says ' /kept .*by touch\[' bento prov log "$DEV"
check "it mounts" attach "$DEV" "$MNT" prov
names=$(ls "$MNT" | grep -c -e kept -e perhaps)
records=$(bento prov log "$MNT" | grep -c -e 'create .* /kept ' -e 'create .* /perhaps ')
check "names and records agree: $names and $records" [ "$names" = "$records" ]

for number in $(seq 120); do
	echo "$number" >"$MNT/file $((number % 7))"
	mv "$MNT/file $((number % 7))" "$MNT/moved"
done
check "the last of many moves is there" says 'rename .* -> /moved' bento prov why "$MNT/moved"
check "it unmounts" umount "$MNT"
check "fsck finds nothing" verify "$DEV"
finish
