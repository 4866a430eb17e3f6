# Zeroing past the end with the size kept does not move the size.
open foo O_RDWR|O_CREAT 0777
write foo 0 16384
fsync foo
falloc foo FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE 16384 4096
fdatasync foo
