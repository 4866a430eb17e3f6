# A symbolic link in a synced directory has its whole target.
mkdir A 0777
open foo O_RDWR|O_CREAT 0777
sync
symlink foo Abar
opendir A 0777
fsync A
