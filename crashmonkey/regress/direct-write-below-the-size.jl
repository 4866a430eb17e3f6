# A buffered write grows the file, a direct one lands below the size.
open foo O_RDWR|O_CREAT 0777
write foo 0 12288
dwrite foo 4096 4096
open foo O_RDWR 0777
fsync foo
