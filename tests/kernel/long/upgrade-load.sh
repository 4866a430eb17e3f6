# Versions replace each other again and again while ten threads work and a cold `find` runs: no operation fails, the module
# that served before can be removed at once, a refusal leaves the one that serves serving, and operations are kept out for
# less than a millisecond, 99 times of 100. SWAPS says how often.
. ./lib.sh
[ "$FSTYP" = bento ] || finish
swaps=${SWAPS:-100}
name=${DEV##*/}
gate=/sys/fs/bento/$name/gate
pauses=/tmp/pauses

to() { bento upgrade --to "$1" "$MNT"; }
module_of() { echo "$1" | tr - _; }
seed() { echo "$1" >/sys/module/bento_fs_faulty/parameters/fault; }
serves() { grep -q "^$1 " "/sys/fs/bento/$name/version" || { cat "/sys/fs/bento/$name/version"; false; }; }
# Which version the swap of a number goes to: back and forth, to each of the others in turn.
version_of() {
	case $(($1 % 4)) in
	1) echo bento-prov ;;
	3) echo bento-fs-faulty ;;
	*) echo bento-fs ;;
	esac
}

# The bound, in nanoseconds, below which so many of a hundred pauses lie.
quantile() { # HUNDREDTHS
	awk -v part="$1" '{ bound[NR] = $1; count[NR] = $2; all += $2 }
		END { for (at = 1; at <= NR; at++) { sum += count[at]; if (sum * 100 >= all * part) { print bound[at]; exit } } }' $pauses
}

# One of a hundred pauses may be longer than 2^20 ns; and those that the machine below stood still in. How many these are
# follows from how often it did so meanwhile, and from how long operations were kept out in all.
few_are_long() {
	cat /tmp/stalls $pauses | awk 'NR == 1 { rate = $2 / $1; next }
		{ all += $2; if ($1 > 1048576) long += $2; out += $2 * ($1 < 1048576 ? $1 : 1048576) }
		END { print long + 0 " of " all " are longer; this machine stood still " rate * 1e9 " times a second"
			exit !(long <= all / 100 + rate * out) }'
}

for module in bento_fs_faulty bento_prov; do check "$module loads" modprobe $module; done
check "a new file system mounts" fresh
mkdir "$MNT/tree" "$MNT/load"
for dir in $(seq 20); do
	mkdir "$MNT/tree/$dir" && (cd "$MNT/tree/$dir" && touch $(seq 100))
done
sync -f "$MNT"

stop=/tmp/stop
rm -f "$stop"
chrt -f 1 fs-stalls "$stop" >/tmp/stalls &
watch=$!
fs-load "$MNT/load" "$stop" >/tmp/load.report 2>&1 &
load=$!
(
	while [ ! -e "$stop" ]; do
		echo 3 >/proc/sys/vm/drop_caches
		[ "$(find "$MNT/tree" -type f | wc -l)" = 2000 ] || echo "FAILED a cold find"
	done
) >/tmp/find.report 2>&1 &
find=$!

old=bento-fs
for swap in $(seq "$swaps"); do
	new=$(version_of "$swap")
	if [ $new = bento-fs-faulty ] && [ $((swap % 5)) = 0 ]; then
		for refusal in refuse import; do
			seed $refusal
			refuse "swap $swap: $new refuses at first ($refusal)" to $new
			check "swap $swap: $old serves on ($refusal)" serves $old
		done
	fi
	check "swap $swap, to $new" to "$new"
	check "swap $swap: it serves" serves "$new"
	check "swap $swap: the old module can be removed at once" rmmod "$(module_of "$old")"
	check "swap $swap: and loaded again" modprobe "$(module_of "$old")"
	old=$new
done
touch "$stop"
wait $load
count cat /tmp/load.report
wait $find
check "every cold find found everything" test ! -s /tmp/find.report
wait $watch
check "the last version is left" to bento-fs
bento prov log "$MNT" >/tmp/prov.log
check "what happened while bento-prov served is recorded" grep -q 'create .*by fs-load\[' /tmp/prov.log

cp "$gate/pauses_ns" $pauses
echo "note: $(cat "$gate/upgrades") upgrades, $(cat "$gate/refusals") tries gave up; $(grep passed /tmp/load.report) under load"
echo "note: pauses, below so many ns: $(tr '\n' ';' <$pauses)"
echo "note: inside the gate, below so many ns: $(tr '\n' ';' <"$gate/held_ns")"
echo "note: half of the pauses were shorter than $(quantile 50) ns, 99 of 100 than $(quantile 99) ns; $(few_are_long)"
check "99 of 100 pauses are shorter than a millisecond" few_are_long
check "it unmounts" umount "$MNT"
for module in bento_fs_faulty bento_prov; do check "$module can go" rmmod $module; done
check "the volume is in order" verify "$DEV"
finish
