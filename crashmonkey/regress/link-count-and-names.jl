# After a link the file is synced by its old name: count and names agree.
open foo O_RDWR|O_CREAT 0777
mkdir A 0777
link foo Abar
fsync foo
