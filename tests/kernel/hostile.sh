# Damaged images: mounted, walked, changed, unmounted. The kernel's messages are read by who started this.
. ./lib.sh
[ "$FSTYP" = bento ] || finish
count hostile-mounts "$DEV" "$MNT" "${HOSTILE_CASES:-60}"
finish
