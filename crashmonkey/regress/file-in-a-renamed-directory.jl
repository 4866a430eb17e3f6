# A directory is renamed after a sync, and a file made in it is synced.
mkdir A 0777
sync
rename A B
open Bfoo O_RDWR|O_CREAT 0777
fsync Bfoo
opendir B 0777
fsync B
