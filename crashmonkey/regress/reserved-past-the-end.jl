# Blocks reserved past the end with the size kept survive an fsync.
open foo O_RDWR|O_CREAT 0777
write foo 0 16384
fsync foo
falloc foo FALLOC_FL_KEEP_SIZE 16384 4096
fsync foo
