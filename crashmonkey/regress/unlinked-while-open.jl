# An open file loses its name; its blocks come back, and nobody sees them before.
open foo O_RDWR|O_CREAT 0777
write foo 0 40000
sync
unlink foo
write foo 40000 4096
open bar O_RDWR|O_CREAT 0777
write bar 0 40000
fsync bar
close foo
sync
