# Many more damaged images than hostile.sh takes.
. ./lib.sh
[ "$FSTYP" = bento ] || finish
count hostile-mounts "$DEV" "$MNT" 2000
finish
