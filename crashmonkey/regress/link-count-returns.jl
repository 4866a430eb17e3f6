# A name goes and comes back between two syncs.
open foo O_RDWR|O_CREAT 0777
link foo bar
sync
unlink bar
link foo B-other
link foo bar
fsync foo
