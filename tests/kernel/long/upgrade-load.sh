# Two versions replace each other again and again while ten threads work and a cold `find` runs: no operation fails, the
# module that served before can be removed at once, and the pauses are short.
. ./lib.sh
[ "$FSTYP" = bento ] || finish
swaps=${SWAPS:-100}
other=${OTHER:-bento-fs-faulty}
name=${DEV##*/}

to() { bento upgrade --to "$1" "$MNT"; }
module_of() { echo "$1" | tr - _; }

# The bound, in nanoseconds, below which so many of a hundred pauses lie, from the kernel's histogram.
quantile() { # HUNDREDTHS FILE
	awk -v part="$1" '{ bound[NR] = $1; count[NR] = $2; all += $2 }
		END { for (at = 1; at <= NR; at++) { sum += count[at]; if (sum * 100 >= all * part) { print bound[at]; exit } } }' "$2"
}

check "the other version loads" modprobe "$(module_of "$other")"
check "a new file system mounts" fresh
mkdir "$MNT/tree" "$MNT/load"
for dir in $(seq 20); do
	mkdir "$MNT/tree/$dir" && (cd "$MNT/tree/$dir" && touch $(seq 100))
done
sync -f "$MNT"

stop=/tmp/stop
rm -f "$stop"
fs-load "$MNT/load" "$stop" >/tmp/load.report 2>&1 &
load=$!
(
	while [ ! -e "$stop" ]; do
		echo 3 >/proc/sys/vm/drop_caches
		[ "$(find "$MNT/tree" -type f | wc -l)" = 2000 ] || echo "FAILED a cold find"
	done
) >/tmp/find.report 2>&1 &
find=$!

for swap in $(seq "$swaps"); do
	case $((swap % 2)) in
	1) new=$other old=bento-fs ;;
	0) new=bento-fs old=$other ;;
	esac
	check "swap $swap" to "$new"
	check "swap $swap: the old module can be removed at once" rmmod "$(module_of "$old")"
	check "swap $swap: and loaded again" modprobe "$(module_of "$old")"
done
touch "$stop"
wait $load
count cat /tmp/load.report
wait $find
check "every cold find found everything" test ! -s /tmp/find.report

gate=/sys/fs/bento/$name/gate
echo "note: $(cat "$gate/upgrades") upgrades, $(cat "$gate/refusals") tries gave up; $(grep passed /tmp/load.report) under load"
echo "note: pauses, below so many ns: $(tr '\n' ';' <"$gate/pauses_ns")"
echo "note: inside the gate, below so many ns: $(tr '\n' ';' <"$gate/held_ns")"
p99=$(quantile 99 "$gate/pauses_ns")
echo "note: 99 of 100 pauses were shorter than $p99 ns"
check "it unmounts" umount "$MNT"
check "the other module can go" rmmod "$(module_of "$other")"
check "the volume is in order" verify "$DEV"
finish
