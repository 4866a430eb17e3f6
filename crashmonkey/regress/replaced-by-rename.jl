# A file that was synced is replaced by a rename: the name stays, old or new.
mkdir A 0777
open Abar O_RDWR|O_CREAT 0777
fsync Abar
mkdir B 0777
open Bbar O_RDWR|O_CREAT 0777
rename Bbar Abar
open Afoo O_RDWR|O_CREAT 0777
opendir A 0777
fsync Afoo
fsync A
