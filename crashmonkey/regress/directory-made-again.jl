# A directory is renamed, and another one made under its old name and synced.
mkdir A 0777
open Afoo O_RDWR|O_CREAT 0777
sync
rename A B
mkdir A 0777
opendir A 0777
fsync A
