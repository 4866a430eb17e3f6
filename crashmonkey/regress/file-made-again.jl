# A file is renamed, and another one made under its old name and synced: both are there.
open foo O_RDWR|O_CREAT 0777
write foo 0 8192
sync
rename foo bar
open foo O_RDWR|O_CREAT 0777
write foo 0 4096
fsync foo
