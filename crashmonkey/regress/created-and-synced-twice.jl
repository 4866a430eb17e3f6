# A file is made and synced, then written and synced again.
open foo O_RDWR|O_CREAT 0777
fsync foo
write foo 0 4096
fsync foo
open bar O_RDWR|O_CREAT 0777
fsync bar
