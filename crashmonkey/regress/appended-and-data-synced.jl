# An appended block and the new size survive fdatasync.
open foo O_RDWR|O_CREAT 0777
write foo 0 4096
sync
append foo 4096
fdatasync foo
