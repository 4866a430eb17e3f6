# A file and the directory that it moved into are both renamed: it has one name.
mkdir A 0777
mkdir AC 0777
rename AC B
open Bbar O_RDWR|O_CREAT 0777
fsync Bbar
rename Bbar Abar
rename A B/C
fsync Bbar
