# Zeroing from the start past the end of a short file happens whole or not: found by the sample of seq-2.
open foo O_RDWR|O_CREAT 0777
write foo 0 4096
truncate foo 2500
sync
falloc foo FALLOC_FL_ZERO_RANGE 0 4096
fsync foo
