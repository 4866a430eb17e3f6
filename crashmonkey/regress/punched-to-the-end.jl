# A hole over the whole of a short file happens whole or not.
open foo O_RDWR|O_CREAT 0777
write foo 0 32768
truncate foo 2500
sync
falloc foo FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 0 5000
sync
