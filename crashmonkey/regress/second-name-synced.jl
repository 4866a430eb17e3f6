# A file is synced by both of its names, in two directories.
mkdir A 0777
mkdir B 0777
open Afoo O_RDWR|O_CREAT 0777
link Afoo Bfoo
open Bfoo O_RDWR 0777
fsync Afoo
fsync Bfoo
