# Stores through a mapping at both ends of a file.
open foo O_RDWR|O_CREAT 0777
write foo 0 65536
sync
mmapwrite foo 0 4096
mmapwrite foo 61440 4096
fsync foo
