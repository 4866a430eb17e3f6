# A file in a directory is synced, then the root: other names in the root are there too.
mkdir A 0777
open foo O_RDWR|O_CREAT 0777
open Afoo O_RDWR|O_CREAT 0777
fsync Afoo
opendir test 0777
fsync test
