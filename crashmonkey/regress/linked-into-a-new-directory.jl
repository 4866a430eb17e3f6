# A synced file gets a name in a new directory, of which only the parent is synced.
mkdir A 0777
mkdir B 0777
mkdir AC 0777
open Bfoo O_RDWR|O_CREAT 0777
fsync Bfoo
link Bfoo ACfoo
opendir A 0777
fsync A
