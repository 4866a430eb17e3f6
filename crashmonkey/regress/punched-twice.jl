# Two holes that overlap, the second unaligned and past the end.
open foo O_RDWR|O_CREAT 0777
write foo 0 32768
sync
falloc foo FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 24576 8192
falloc foo FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 4100 61440
fsync foo
